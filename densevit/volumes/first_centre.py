"""Grids of two spacings that share the centre of their first voxel, as MONAI's `Spacing` lays them.

Legend: axes (3, 3), a column for each axis of an array: millimetres from one voxel to the next.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from densevit.inference.native import NativeGrid

SAME_MM = 1e-3  # spacings that differ by less are one
AS_ONE = 1e-8  # voxels: corners that lie farther beyond the first voxel have a grid laid by its middle
SAME_SCALE = 1e-6  # relative


def lay_grids(axes: np.ndarray, size: Sequence[int], spacing: Sequence[float | None]) -> tuple[NativeGrid, NativeGrid]:
    """The grid of `spacing` mm on one of `size` voxels, and this one on that; None leaves the spacing of an axis.

    Where a rounded affine puts a corner of the scan a little before its first voxel, MONAI lays the halves of both
    sizes over one another in the place of the first centres, and so does this. What little the axes lack to right
    angles is left out.
    """
    zooms = np.linalg.cholesky(axes.T @ axes).T  # of axes = rotation @ zooms: millimetres on its diagonal
    own = np.linalg.norm(axes, axis=0)
    kept = [mm is None or abs(mm - each) <= SAME_MM for mm, each in zip(spacing, own, strict=True)]
    wanted = np.array([each if keep else mm for keep, mm, each in zip(kept, spacing, own, strict=True)])
    corners = np.array([*product(*((0.0, n - 1.0) for n in size))]).T
    places = (zooms / wanted[:, None]) @ corners  # of the corners, on the new grid
    count = tuple(int(n) for n in np.round(np.ptp(places, axis=1) + 1))
    scale = wanted / np.diag(zooms)  # old voxels in a new one
    if np.abs(scale - 1).max() <= SAME_SCALE and count == tuple(size):
        scale = np.ones(len(size))
    offset = np.zeros(len(size))
    if places.min() < -AS_ONE:
        offset = (np.array(size) - scale * count) / 2
    new = NativeGrid(count, tuple(scale.tolist()), tuple(offset.tolist()))
    old = NativeGrid(tuple(size), tuple((1 / scale).tolist()), tuple((-offset / scale).tolist()))
    return new, old
