"""Arrays turned from the axes of a file to our standard axes, and back.

Legend: values (C, X, Y, Z) in the order of a file; image (C, D, H, W) toward superior, anterior and right.
"""

import numpy as np

from densevit.volumes.grid import Grid


def to_standard(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    """(C, X, Y, Z) and its affine (4, 4) in mm -> a view (C, D, H, W) and its grid."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn, size = io_orientation(affine), values.shape[1:]
    turned = apply_orientation(np.moveaxis(values, 0, -1), turn)  # (right, anterior, superior, C)
    image = turned.transpose(3, 2, 1, 0)
    return image, Grid(image.shape[1:], affine @ inv_ornt_aff(turn, size))


def from_standard(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(C, D, H, W) -> (C, X, Y, Z), the order of axes that the file's `affine` (4, 4) has."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(affine))
    return np.moveaxis(apply_orientation(image.transpose(3, 2, 1, 0), back), -1, 0)


def tensor_affine(grid: Grid) -> np.ndarray:
    """The affine (4, 4) of a tensor (C, D, H, W) on this grid: its columns are for steps along D, H and W."""
    return grid.affine[:, [2, 1, 0, 3]]
