"""Linear resizing made cheap: the sum of a pyramid's levels at the finest size, and a convolution of a resized map.

All tensors here are grids (B, *S, C).
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.blocks.traced import is_plain_cpu

STRIP_ROWS = 16  # a strip of output rows, and what it is summed from, stays in a core's cache


def upsampled_sum(levels: Sequence[Tensor]) -> Tensor:
    """[(B, *S_i, C)] -> (B, *S_0, C): levels resized linearly to the first one's size and added up.

    May write into the first level. On the CPU without gradients the sum is made strip by strip, where the last
    axis's interpolation of each strip is a small matrix product that adds in place; otherwise by plain resizing.
    Both give the same numbers up to rounding (docs/decisions/strip_upsampling.md).
    """
    finest, *coarser = levels
    if not coarser:
        return finest
    in_strips = is_plain_cpu(finest) and finest.is_contiguous() and finest.dtype == torch.float32
    if in_strips and not torch.is_grad_enabled():
        return _strip_sum(finest, coarser)
    total = nd.to_image(finest)
    for level in coarser:
        total = total + nd.resize(nd.to_image(level), finest.shape[1:-1])
    return nd.to_grid(total)


def _strip_sum(finest: Tensor, coarser: Sequence[Tensor]) -> Tensor:
    rows, *columns = finest.shape[1:-1]
    # First every axis but the first, at the level's own number of rows: (B, rows_i, *columns, C).
    wide = [nd.to_grid(nd.resize(nd.to_image(g), (g.shape[1], *columns))).contiguous() for g in coarser]
    for b, start in product(range(len(finest)), range(0, rows, STRIP_ROWS)):
        stop = min(start + STRIP_ROWS, rows)
        parts = [_strip_weights(rows, level.shape[1], start, stop) for level in wide]
        sources = [level[b, lo:hi].flatten(1) for level, (_, lo, hi) in zip(wide, parts, strict=True)]
        target = finest[b, start:stop].view(stop - start, -1)
        target.addmm_(torch.cat([weights for weights, _, _ in parts], dim=1), torch.cat(sources))
    return finest


@lru_cache(maxsize=4096)
def _strip_weights(rows: int, rows_in: int, start: int, stop: int) -> tuple[Tensor, int, int]:
    """Linear interpolation of one strip as a matrix (stop - start, hi - lo) on the input rows lo to hi."""
    identity = torch.eye(rows_in, dtype=torch.float32, device="cpu").unsqueeze(0)  # cached: no default of the caller's
    weights = F.interpolate(identity, size=rows, mode="linear", align_corners=False)[0].T[start:stop]
    used = weights.sum(0).nonzero()
    lo, hi = int(used[0]), int(used[-1]) + 1
    return weights[:, lo:hi].contiguous(), lo, hi


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
