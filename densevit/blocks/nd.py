"""The only file that asks how many spatial dimensions there are.

Two layouts are used, and every function name says which one it makes:
    grid    (B, *S, C)  channels last, what blocks read and write
    image   (B, C, *S)  channels first, what convolutions and decoders read
S is (H, W) or (D, H, W).
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
ADAPTIVE_AVG_POOL = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
CHANNEL_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}


def ntuple(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    """Repeat an int n times; check the length of a sequence."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n:
        raise ValueError(f"expected {n} values, one per spatial dimension, got {values}")
    return values


def to_grid(image: Tensor) -> Tensor:
    """(B, C, *S) -> (B, *S, C), a view."""
    return image.movedim(1, -1)


def to_image(grid: Tensor) -> Tensor:
    """(B, *S, C) -> (B, C, *S), a view; convolutions take their channels-last path when the grid is contiguous."""
    return grid.movedim(-1, 1)


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *size), linear along every spatial dimension, half-pixel centres."""
    if tuple(image.shape[2:]) == tuple(size):
        return image
    return F.interpolate(image, size=tuple(size), mode=LINEAR_MODE[image.ndim - 2], align_corners=False)


def pad_to_at_least(grid: Tensor, size: Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B, *max(S, size), C), zeros added at the far end of the axes that are too short."""
    missing = [max(least - s, 0) for s, least in zip(grid.shape[1:-1], size, strict=True)]
    return F.pad(grid, [0, 0] + [p for m in reversed(missing) for p in (0, m)]) if any(missing) else grid
