"""Cubic splines between voxel centres, as scipy's `zoom` and scikit-image's `resize` have them.

What they do along one axis is linear, so a matrix says it: that which scipy makes of the unit vectors. Volumes are then
resampled by a matrix product along each axis, in float32, where scipy takes 64 voxels for each new one, in float64.
Legend: values (D, H, W).
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from densevit.inference.native import NativeGrid


def resample_cubic(values: Tensor, size: Sequence[int], *, nearest: int | None = None) -> Tensor:
    """(D, H, W) -> (*size), never beyond the smallest and the largest value, as nnU-Net resamples images.

    With `nearest` each slice along that axis is resampled and kept between its own values, and then the nearest slices
    are taken. A slice or volume that keeps its size along all axes stays as it is.
    """
    axes = [axis for axis in range(values.ndim) if axis != nearest]
    low, high = values.amin(axes, keepdim=True), values.amax(axes, keepdim=True)
    changed = [axis for axis in axes if values.shape[axis] != size[axis]]
    for axis in sorted(changed, key=lambda axis: size[axis] / values.shape[axis]):  # the least work
        matrix = cubic_matrix(values.shape[axis], size[axis])
        values = torch.tensordot(matrix, values, dims=([1], [axis])).movedim(0, axis)
    values = values.clamp(low, high) if changed else values
    if nearest is None or values.shape[nearest] == size[nearest]:
        return values
    grid = NativeGrid.same_extent(size, values.shape, nearest=(nearest,))
    return values.index_select(nearest, grid.lines(values.shape)[nearest].below)


@lru_cache(maxsize=32)
def cubic_matrix(length: int, new_length: int) -> Tensor:
    """(new_length, length) float32: what each value along an axis gives to each new one."""
    from scipy.ndimage import zoom

    rows = zoom(np.eye(length), (new_length / length, 1), order=3, mode="nearest", grid_mode=True)
    return torch.from_numpy(rows).float()
