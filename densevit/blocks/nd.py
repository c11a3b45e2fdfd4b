"""The only file that asks how many spatial dimensions there are.

Two layouts are used, and every function name says which one it makes:
    grid    (B, *S, C)  channels last, what blocks read and write
    image   (B, C, *S)  channels first, what convolutions and decoders read
S is (H, W) or (D, H, W).
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV = {2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
CONVOLUTIONS = tuple(CONV.values())  # for isinstance
CONV_TRANSPOSE = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
UPSAMPLINGS = tuple(CONV_TRANSPOSE.values())
BATCH_NORM = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
INSTANCE_NORM = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}
MAX_POOL = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVG_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
ADAPTIVE_AVG_POOL = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}
CHANNEL_DROPOUT = {2: nn.Dropout2d, 3: nn.Dropout3d}
CHANNELS_LAST = {2: torch.channels_last, 3: torch.channels_last_3d}
LINEAR_MODE = {2: "bilinear", 3: "trilinear"}
CUBIC_MODE = {2: "bicubic", 3: "trilinear"}  # torch has no cubic interpolation of volumes
TABLE_SIZE = {2: 224, 3: 96}  # of the images for which fresh position tables are made: ImageNet's, UNETR's


def ntuple(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    """Repeat an int n times; check the length of a sequence."""
    values = (value,) * n if isinstance(value, int) else tuple(value)
    if len(values) != n:
        raise ValueError(f"expected {n} values, one per spatial dimension, got {values}")
    return values


def plain(values: Sequence[int]) -> int | tuple[int, ...]:
    """The inverse: one number where all are the same."""
    return values[0] if len(set(values)) == 1 else tuple(values)


def to_grid(image: Tensor) -> Tensor:
    """(B, C, *S) -> (B, *S, C), a view."""
    return image.movedim(1, -1)


def to_image(grid: Tensor) -> Tensor:
    """(B, *S, C) -> (B, C, *S), a view; convolutions take their channels-last path when the grid is contiguous."""
    return grid.movedim(-1, 1)


def ceil_div(size: Sequence[int], divisor: int | Sequence[int]) -> tuple[int, ...]:
    """Each entry of size over its divisor, rounded up."""
    return tuple(-(-s // d) for s, d in zip(size, ntuple(divisor, len(size)), strict=True))


def table_grid(
    spatial_dims: int, image_size: int | Sequence[int] | None, patch: int | Sequence[int]
) -> tuple[int, ...]:
    """Cells of the images for which a table of positions is made: of `image_size`, or by default of TABLE_SIZE."""
    return ceil_div(ntuple(TABLE_SIZE[spatial_dims] if image_size is None else image_size, spatial_dims), patch)


def resize(image: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *size), linear along every spatial dimension, half-pixel centres."""
    if not torch.jit.is_tracing() and tuple(image.shape[2:]) == tuple(size):  # a trace would keep the answer
        return image
    return F.interpolate(image, size=tuple(size), mode=LINEAR_MODE[image.ndim - 2], align_corners=False)


def resize_smoothly(image: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *size): cubic and without aliasing in pictures, linear in volumes (torch has no more)."""
    options = dict(antialias=True) if image.ndim - 2 == 2 else {}
    return F.interpolate(image, size=tuple(size), mode=CUBIC_MODE[image.ndim - 2], align_corners=False, **options)


def average(image: Tensor, block: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *ceil(S / block)): the mean of each block, of what there is of it at the far ends."""
    # In 3D torch refuses a block that is longer than the image; a trace would keep the answer to which one is.
    fitting = block if torch.jit.is_tracing() else [min(b, s) for b, s in zip(block, image.shape[2:], strict=True)]
    return AVG_POOL[image.ndim - 2](image, fitting, stride=tuple(block), ceil_mode=True)


def pad_to_at_least(grid: Tensor, size: Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B, *max(S, size), C), zeros added at the far end of the axes that are too short."""
    if torch.jit.is_tracing():  # which would keep the answers to "how much, if any"
        missing = [(least - s) * (s < least) for s, least in zip(grid.shape[1:-1], size, strict=True)]
    else:
        missing = [max(least - s, 0) for s, least in zip(grid.shape[1:-1], size, strict=True)]
        if not any(missing):
            return grid
    return F.pad(grid, [0, 0] + [p for m in reversed(missing) for p in (0, m)])


def pad_to_multiple(grid: Tensor, divisor: int | Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B, *ceil(S / divisor) * divisor, C), zeros added at the far ends."""
    divisors = ntuple(divisor, grid.ndim - 2)
    whole = [n * d for n, d in zip(ceil_div(grid.shape[1:-1], divisors), divisors, strict=True)]
    return pad_to_at_least(grid, whole)


def crop(grid: Tensor, size: Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B, *size, C), a view of the near corner."""
    return grid[(slice(None), *(slice(s) for s in size))]


def count_places(size: Sequence[int]) -> Tensor:
    """(1, *size, 1): a grid that holds the number of each place, the last axis counting fastest."""
    return torch.arange(prod(size)).reshape(1, *size, 1)


def partition_windows(grid: Tensor, window: Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B * n_windows, prod(window), C); S must divide by window."""
    n, (b, *size, c) = len(window), grid.shape
    split = [f for s, w in zip(size, window, strict=True) for f in (s // w, w)]  # S1/w1, w1, S2/w2, w2, ...
    outer, inner = range(1, 2 * n, 2), range(2, 2 * n + 1, 2)  # 2D: (1, 3) windows, (2, 4) positions in a window
    return grid.reshape(b, *split, c).permute(0, *outer, *inner, 2 * n + 1).reshape(-1, prod(window), c)


def merge_windows(windows: Tensor, window: Sequence[int], size: Sequence[int]) -> Tensor:
    """(B * n_windows, prod(window), C) -> (B, *size, C): the inverse of `partition_windows`."""
    n, c = len(window), windows.shape[-1]
    count = [s // w for s, w in zip(size, window, strict=True)]
    order = [i for k in range(n) for i in (1 + k, 1 + n + k)]  # 2D: 1, 3, 2, 4 = rows, window rows, columns, ...
    return windows.reshape(-1, *count, *window, c).permute(0, *order, 2 * n + 1).reshape(-1, *size, c)
