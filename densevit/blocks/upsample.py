"""Sum of a pyramid's levels at the finest resolution: the one expensive step that a folded decoder has left.

All tensors here are grids (B, *S, C), fine to coarse.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd

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
    in_strips = finest.device.type == "cpu" and finest.is_contiguous() and finest.dtype == torch.float32
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    plain = type(finest) is Tensor and not traced
    if in_strips and plain and not torch.is_grad_enabled():
        return _strip_sum(finest, coarser)
    total = nd.to_image(finest)
    for level in coarser:
        total = total + nd.resize(nd.to_image(level), finest.shape[1:-1])
    return nd.to_grid(total)


def _strip_sum(finest: Tensor, coarser: Sequence[Tensor]) -> Tensor:
    rows, *columns = finest.shape[1:-1]
    # First every axis but the first, at the level's own number of rows: (B, rows_i, *columns, C).
    wide = [nd.to_grid(nd.resize(nd.to_image(g), (g.shape[1], *columns))).contiguous() for g in coarser]
    for b in range(len(finest)):
        for start, stop in _strips(rows):
            target = finest[b, start:stop].view(stop - start, -1)
            parts = [_strip_weights(rows, level.shape[1], start, stop) for level in wide]
            sources = [level[b, lo:hi].flatten(1) for level, (_, lo, hi) in zip(wide, parts, strict=True)]
            target.addmm_(torch.cat([weights for weights, _, _ in parts], dim=1), torch.cat(sources))
    return finest


def _strips(rows: int) -> Iterator[tuple[int, int]]:
    for start in range(0, rows, STRIP_ROWS):
        yield start, min(start + STRIP_ROWS, rows)


@lru_cache(maxsize=4096)
def _strip_weights(rows: int, rows_in: int, start: int, stop: int) -> tuple[Tensor, int, int]:
    """Linear interpolation of one strip as a matrix (stop - start, hi - lo) on the input rows lo to hi."""
    identity = torch.eye(rows_in, dtype=torch.float32, device="cpu").unsqueeze(0)  # cached: no default of the caller's
    weights = F.interpolate(identity, size=rows, mode="linear", align_corners=False)[0].T[start:stop]
    used = weights.sum(0).nonzero()
    lo, hi = int(used[0]), int(used[-1]) + 1
    return weights[:, lo:hi].contiguous(), lo, hi
