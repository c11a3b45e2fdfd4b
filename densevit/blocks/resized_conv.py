"""A convolution of a linearly resized map, made at the map's own resolution.

Each tap of the kernel is a linear map over channels, which commutes with resizing, followed by a shift by one pixel:
    conv(resize(x))  =  sum over taps t of  shift_t(resize(W_t x))
and shift and resizing are one sparse matrix an axis. So the products over channels are as many as x has pixels, not as
many as the result has: a quarter for a doubling in 2D, an eighth in 3D (docs/decisions/resized_conv.md).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_conv(grid: Tensor, weight: Tensor, size: Sequence[int]) -> Tensor:
    """(B, *s, C) -> (B, *size, O): `weight` (O, C, *k), k odd, on the grid resized to `size` and padded with zeros."""
    sizes = zip(grid.shape[1:-1], size, weight.shape[2:], strict=True)
    matrices = [_shifted_resizings(s, out, taps, like=grid) for s, out, taps in sizes]
    return _convolve(grid, weight.movedim((0, 1), (-2, -1)).contiguous(), matrices)


def _convolve(grid: Tensor, weight: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """Taps of the first remaining axis one by one, those of the last axis together; then resize along that axis.

    2D, `weight` (k, k, O, C): (B, h, w, C) -> three of (B, h, W, O) for the rows of the kernel -> (B, H, W, O).
    """
    first, *rest = matrices
    if not rest:
        columns = F.linear(grid, weight.flatten(0, 1))  # (B, ..., s, k * O)
        columns = columns.unflatten(-1, weight.shape[:2]).flatten(-3, -2)  # (B, ..., s * k, O)
        return first.permute(1, 2, 0).flatten(1) @ columns
    axis = grid.ndim - 1 - len(matrices)
    stacked = torch.cat([_convolve(grid, part, rest) for part in weight.unbind()], dim=axis)  # (B, ..., k * s, ..., O)
    resized = first.transpose(0, 1).flatten(1) @ stacked.flatten(axis + 1)  # (B, ..., S, all that follows)
    return resized.unflatten(-1, stacked.shape[axis + 1 :])


def _shifted_resizings(size: int, size_out: int, taps: int, *, like: Tensor) -> Tensor:
    """(k, size_out, size): linear resizing along one axis, then a shift by -(k // 2) .. k // 2 that lets zeros in."""
    precise = torch.promote_types(like.dtype, torch.float32)
    identity = torch.eye(size, dtype=precise, device=like.device).unsqueeze(0)
    resizing = F.interpolate(identity, size=size_out, mode="linear", align_corners=False)[0].T
    padded = F.pad(resizing, (0, 0, taps // 2, taps // 2))
    return torch.stack([padded[k : k + size_out] for k in range(taps)]).to(like.dtype)
