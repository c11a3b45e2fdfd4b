"""NIfTI files to arrays with the axes (D, H, W) = (inferior to superior, posterior to anterior, left to right)."""

import zlib
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

GRID_TOLERANCE = 0.01  # of a voxel: how far the grids of an image and its label may lie apart


@dataclass(frozen=True)
class Grid:
    """Voxel counts (D, H, W), and the affine from voxel (w, h, d) to millimetres (right, anterior, superior)."""

    size: tuple[int, int, int]
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels (D, H, W)."""
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0)[::-1].tolist())

    def distance(self, other: "Grid") -> float:
        """The farthest that a corner of this grid lies from the other's, in millimetres."""
        corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in self.size[::-1]))])
        return float(np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1).max())


def read_grid(path: str) -> Grid:
    """The grid of a file, turned to the nearest standard orientation; reads the header alone."""
    image = _open(path)
    return Grid(tuple(image.shape[2::-1]), image.affine)


def read_volume(path: str) -> tuple[np.ndarray, Grid]:
    """Float32 (C, D, H, W) and its grid; a fourth axis of the file holds channels. ValueError for what is no volume."""
    image = _open(path)
    values = _values(image, path).astype(np.float32)
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    if wrong:
        raise ValueError(f"{path} holds {wrong} voxels that are no finite number; replace them, for example by 0")
    volume = values[None] if values.ndim == 3 else np.moveaxis(values, -1, 0)
    return np.ascontiguousarray(volume.transpose(0, 3, 2, 1)), Grid(tuple(image.shape[2::-1]), image.affine)


def read_label_volume(path: str) -> tuple[np.ndarray, Grid]:
    """The file's own integers as int64 (D, H, W), and its grid; ValueError for values that are not whole numbers."""
    image = _open(path)
    values = _values(image, path)
    if values.ndim != 3:
        raise ValueError(f"{path} has {values.ndim} axes, and a label volume has three; save one label per voxel")
    whole = np.nan_to_num(values, nan=0.5, posinf=0.5, neginf=0.5).astype(np.int64)
    if not (whole == values).all():
        raise ValueError(
            f"{path} holds {values[whole != values][0]}, and labels are whole numbers; save it as integers"
        )
    return np.ascontiguousarray(whole.transpose(2, 1, 0)), Grid(tuple(image.shape[2::-1]), image.affine)


def check_same_grid(image: tuple[str, Grid], label: tuple[str, Grid]) -> None:
    """Raise ValueError, saying by how much, where a label does not lie on its image's voxels."""
    (image_path, grid), (label_path, label_grid) = image, label
    if grid.size != label_grid.size:
        raise ValueError(
            f"{label_path} has {_times(label_grid.size)} voxels and its image {image_path} {_times(grid.size)}; "
            "resample the label to the grid of its image"
        )
    apart = grid.distance(label_grid)
    if apart > GRID_TOLERANCE * min(grid.spacing):
        raise ValueError(
            f"{label_path} lies up to {apart:.3g} mm away from its image {image_path}, whose voxels are "
            f"{_times(round(s, 3) for s in grid.spacing)} mm; resample the label to the grid of its image"
        )


def _open(path: str) -> Any:
    """The file, its data not yet read, its axes turned to point about right, anterior and superior."""
    import nibabel  # here alone: pictures need it not

    try:
        image = nibabel.load(path)
        image = nibabel.as_closest_canonical(image)
    except (nibabel.filebasedimages.ImageFileError, *_BROKEN) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error})") from error
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise ValueError(f"{path} has the shape {image.shape}, and a volume has three axes, or a fourth of channels")
    if not np.linalg.det(image.affine[:3, :3]):
        raise ValueError(f"{path} says nothing usable about its orientation: its affine is singular; correct the file")
    return image


def _values(image: Any, path: str) -> np.ndarray:
    try:
        values = np.asanyarray(image.dataobj)
    except _BROKEN as error:
        raise ValueError(f"{path} is damaged ({error}); get the file again") from error
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{path} holds {values.dtype} values, and a volume holds plain numbers; convert the file")
    return values


_BROKEN = (OSError, EOFError, ValueError, zlib.error)


def _times(values: object) -> str:
    return " x ".join(map(str, values))
