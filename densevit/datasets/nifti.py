"""NIfTI files to arrays with the axes (D, H, W) = (inferior to superior, posterior to anterior, left to right)."""

import zlib
from dataclasses import dataclass
from itertools import product
from pathlib import Path
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


def read_volume(path: str, *, affine: np.ndarray | None = None) -> tuple[np.ndarray, Grid]:
    """Float32 (C, D, H, W) and its grid; a fourth axis of the file holds channels. ValueError for what is no volume.

    `affine` takes the place of the one that nibabel chooses.
    """
    image = _open(path, affine=affine)
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


def check_same_grid(image: tuple[str, Grid], label: tuple[str, Grid], *, what: str = "label") -> None:
    """Raise ValueError, saying by how much, where a label (or another channel) does not lie on its image's voxels."""
    (image_path, grid), (label_path, label_grid) = image, label
    if grid.size != label_grid.size:
        raise ValueError(
            f"{label_path} has {_times(label_grid.size)} voxels and its image {image_path} {_times(grid.size)}; "
            f"resample the {what} to the grid of its image"
        )
    apart = grid.distance(label_grid)
    if apart > GRID_TOLERANCE * min(grid.spacing):
        raise ValueError(
            f"{label_path} lies up to {apart:.3g} mm away from its image {image_path}, whose voxels are "
            f"{_times(round(s, 3) for s in grid.spacing)} mm; resample the {what} to the grid of its image"
        )


def check_geometry(image: Any, path: str | Path, *, geometry: str | None = None) -> np.ndarray:
    """The affine (4, 4) of a nibabel image in mm, on which its sform, its qform and its voxel sizes agree.

    ValueError where they place a corner more than `GRID_TOLERANCE` of a voxel apart, unless `geometry` chooses a form.
    """
    header = image.header
    if geometry not in (None, "sform", "qform"):
        raise ValueError(f"geometry must be 'sform', 'qform' or None, got {geometry!r}")
    if not hasattr(header, "get_sform"):  # not NIfTI: one affine
        return image.affine
    forms = {"sform": header.get_sform(coded=True)[0], "qform": header.get_qform(coded=True)[0]}
    forms = {name: affine for name, affine in forms.items() if affine is not None}
    if geometry is not None:
        if geometry not in forms:
            raise ValueError(f"{path} has no valid {geometry}, only {' and '.join(forms) or 'voxel sizes'}")
        return forms[geometry]
    size = tuple(image.shape[2::-1])
    zooms = np.array(header.get_zooms()[:3], float)
    for name, affine in forms.items():
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(sizes, zooms, rtol=GRID_TOLERANCE, atol=0):
            raise ValueError(
                f"{path} disagrees with itself: its {name} has voxels of {_times(sizes.round(4))} mm and its voxel "
                f"sizes say {_times(zooms.round(4))}; choose geometry='{name}' if that holds, or correct the file"
            )
    if len(forms) == 2:
        apart = Grid(size, forms["sform"]).distance(Grid(size, forms["qform"]))
        if apart > GRID_TOLERANCE * zooms.min():
            raise ValueError(
                f"{path} disagrees with itself: its sform and its qform place voxels up to {apart:.3g} mm apart; "
                "choose geometry='sform' or geometry='qform'"
            )
    return image.affine


def _open(path: str, *, affine: np.ndarray | None = None) -> Any:
    """The file, its data not yet read, its axes turned to point about right, anterior and superior."""
    import nibabel  # here alone: pictures need it not

    try:
        image = nibabel.load(path)
        if affine is not None:
            image = type(image)(image.dataobj, affine, image.header)
        image = nibabel.as_closest_canonical(image)
    except (nibabel.filebasedimages.ImageFileError, *BROKEN) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error})") from error
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise ValueError(f"{path} has the shape {image.shape}, and a volume has three axes, or a fourth of channels")
    if not np.linalg.det(image.affine[:3, :3]):
        raise ValueError(f"{path} says nothing usable about its orientation: its affine is singular; correct the file")
    return image


def _values(image: Any, path: str) -> np.ndarray:
    try:
        values = np.asanyarray(image.dataobj)
    except BROKEN as error:
        raise ValueError(f"{path} is damaged ({error}); get the file again") from error
    if values.dtype.kind not in "iufb":
        raise ValueError(f"{path} holds {values.dtype} values, and a volume holds plain numbers; convert the file")
    return values


BROKEN = (OSError, EOFError, ValueError, zlib.error)


def _times(values: object) -> str:
    return " x ".join(map(str, values))
