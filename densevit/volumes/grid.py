"""Where pixels and voxels lie: counts and an affine, and how far two grids are apart."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

GRID_TOLERANCE = 0.01  # of a voxel: how far grids may lie apart without a word
READ_TOLERANCE = 0.1  # of a voxel: how far a label may lie off its image and be read as lying on it, with a remark


@dataclass(frozen=True)
class Grid:
    """Voxel counts (D, H, W), and the affine from voxel (w, h, d) to millimetres (right, anterior, superior).

    A picture has a size (H, W) and no affine: nobody knows how large its pixels are.
    """

    size: tuple[int, ...]
    affine: np.ndarray | None = None

    @classmethod
    def at_origin(cls, size: tuple[int, ...], spacing: Sequence[float]) -> "Grid":
        """Voxels of `spacing` mm (D, H, W), the first of them at 0."""
        return cls(tuple(size), np.diag([*spacing[::-1], 1.0]))

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres between voxels (D, H, W); between pixels (H, W) always 1."""
        if self.affine is None:
            return (1.0,) * len(self.size)
        return tuple(np.linalg.norm(self.affine[:3, :3], axis=0)[::-1].tolist())

    @property
    def voxel_volume(self) -> float:
        """Cubic millimetres of a voxel; of a sheared grid less than the product of its spacing. Of a pixel always 1."""
        return 1.0 if self.affine is None else float(abs(np.linalg.det(self.affine[:3, :3])))

    def distance(self, other: "Grid") -> float:
        """The farthest that a corner of this grid lies from the other's, in millimetres."""
        corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in self.size[::-1]))])
        return float(np.linalg.norm(corners @ (self.affine - other.affine).T, axis=1).max())


def check_same_grid(
    image: tuple[str, Grid], label: tuple[str, Grid], *, what: str = "label", of: str = "image"
) -> str | None:
    """Raise ValueError, saying by how much, where a label (or another channel) does not lie on its image's voxels.

    Where it lies off them by so little that it is read as lying on them, such as after a rounding of the spacing, what
    comes back is a sentence that says so. `what` is compared with `of`, in words.
    """
    (image_path, grid), (label_path, label_grid) = image, label
    if grid.size != label_grid.size:
        raise ValueError(
            f"{label_path} has {times(label_grid.size)} voxels and its {of} {image_path} {times(grid.size)}; "
            f"resample the {what} to the grid of its {of}"
        )
    apart = grid.distance(label_grid)
    if apart <= GRID_TOLERANCE * min(grid.spacing):
        return None
    if apart <= READ_TOLERANCE * min(grid.spacing):
        share = 100 * apart / min(grid.spacing)
        return f"{label_path} lies up to {apart:.2g} mm off its {of}, {share:.2g} % of a voxel, and is read as on it"
    raise ValueError(
        f"{label_path} lies up to {apart:.3g} mm away from its {of} {image_path}, whose voxels are "
        f"{times(round(s, 3) for s in grid.spacing)} mm; if it was drawn on the {of}'s voxels and only its header is "
        f"wrong, copy the {of}'s header (affine) into it; if the {what} does lie elsewhere, resample the "
        f"{what} to the grid of its {of}, which would empty it in the first case"
    )


def times(values: Iterable[object]) -> str:
    """`2 x 3 x 4`."""
    return " x ".join(map(str, values))
