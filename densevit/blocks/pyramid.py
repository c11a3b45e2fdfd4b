"""Parts of pyramid decoders: convolution, norm and ReLU, the top-down path, the branch that sums a pyramid's levels,
and linear resizing made cheap. The path and the branch are of Semantic FPN, https://arxiv.org/abs/1901.02446
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import log2, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.traced import is_plain_cpu
from densevit.blocks.transformer import init_vit_weights

Size = tuple[int, ...]
STRIP_ROWS = 16  # a strip of output rows, and what it is summed from, stays in a core's cache


class ConvNormReLU(nn.Module):
    """Convolution without bias, batch norm, ReLU: (B, C_in, *S) -> (B, C_out, *S)."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, kernel_size: int):
        super().__init__()
        padding = kernel_size // 2
        self.conv = nd.CONV[spatial_dims](in_channels, out_channels, kernel_size, padding=padding, bias=False)
        self.bn = nd.BATCH_NORM[spatial_dims](out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(normed(self.conv(x), self.bn), inplace=True)


class PyramidConvNormReLU(nn.Module):
    """Levels resized to the first, concatenated, then as above: [(B, C_i, *S_i)] -> (B, C_out, *S_0).

    The part of the 3 x 3 (x 3) convolution that reads a resized map is made at that map's own resolution where it is
    coarser (`resized_conv`): the same numbers up to rounding, for a fraction of the work.
    """

    def __init__(self, spatial_dims: int, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.in_channels = tuple(in_channels)
        self.conv = nd.CONV[spatial_dims](sum(in_channels), out_channels, 3, padding=1, bias=False)
        self.bn = nd.BATCH_NORM[spatial_dims](out_channels)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        size = levels[0].shape[2:]
        slices = list(zip(levels, self.conv.weight.split(self.in_channels, dim=1), strict=True))
        is_fine = [2 * prod(level.shape[2:]) > prod(size) for level in levels]
        fine = [pair for pair, at_once in zip(slices, is_fine, strict=True) if at_once]
        image = torch.cat([nd.resize(level, size) for level, _ in fine], dim=1)
        weight = torch.cat([part for _, part in fine], dim=1)
        x = nd.CONVOLVE[image.ndim - 2](image, weight, padding=1)
        for (level, part), at_once in zip(slices, is_fine, strict=True):
            if not at_once:
                x = x + nd.to_image(resized_conv(nd.to_grid(level), part, size))
        return F.relu(normed(x, self.bn), inplace=True)


def normed(x: Tensor, norm: nn.Module) -> Tensor:
    """(B, C, *S) -> the same through a batch norm; ValueError where it is to be trained on one value a channel."""
    if norm.training and x.numel() == x.shape[1] and not isinstance(norm, nn.SyncBatchNorm):
        raise ValueError(
            f"batch norm cannot be trained on one value a channel, got a map of {tuple(x.shape)}; "
            "take at least two images a batch, or several processes with sync_bn"
        )
    return norm(x)


def top_down(laterals: Sequence[nn.Module], features: Sequence[Tensor]) -> list[Tensor]:
    """[(B, C_i, *S_i)] fine to coarse -> [(B, C, *S_i)]: each level's lateral plus the coarser level's sum, nearest."""
    summed: list[Tensor] = []  # coarse to fine
    for feature, lateral in zip(features[::-1], list(laterals)[::-1], strict=True):
        x = lateral(feature)
        summed.append(x + F.interpolate(summed[-1], size=x.shape[2:], mode="nearest") if summed else x)
    return summed[::-1]


class SemanticBranch(nn.Module):
    """[(B, C, *S_i)] fine to coarse -> (B, out_channels, *S_0).

    Each level goes through one convolution for each doubling of the resolution, at least one; then they are summed.
    """

    def __init__(self, spatial_dims: int, dim: int, *, in_strides: Sequence[int | tuple[int, ...]], out_channels: int):
        super().__init__()
        self.octaves = [_octaves(in_strides[0], stride, spatial_dims) for stride in in_strides]
        self.levels = nn.ModuleList(
            nn.ModuleList(
                ConvNormReLU(spatial_dims, dim if step == 0 else out_channels, out_channels, kernel_size=3)
                for step in range(max(octaves, 1))
            )
            for octaves in self.octaves
        )
        self.apply(init_vit_weights)

    def forward(self, pyramid: Sequence[Tensor]) -> Tensor:
        sizes = self._sizes([tuple(level.shape[2:]) for level in pyramid])
        finest, doubled = [], []  # the last doubling is of the sum: a linear map commutes with it
        for level, octaves, convs in zip(pyramid, self.octaves, self.levels, strict=True):
            x = convs[0](level)
            for conv, octave in zip(list(convs)[1:], range(octaves - 1, 0, -1), strict=True):
                x = conv(nd.resize(x, sizes[octave]))
            (doubled if octaves else finest).append(nd.resize(x, sizes[min(octaves, 1)]))
        grids = [nd.to_grid(sum(levels)) for levels in (finest, doubled) if levels]
        return nd.to_image(upsampled_sum(grids))

    def _sizes(self, sizes: Sequence[Size]) -> list[Size]:
        """Size of each octave, from the finest: that of the level there or, where there is none, half of the finest."""
        result = []
        for octave in range(max(self.octaves) + 1):
            coarser = next(size for size, o in zip(sizes, self.octaves, strict=True) if o >= octave)
            halved = nd.ceil_div(sizes[0], 2**octave)
            between = tuple(max(pair) for pair in zip(coarser, halved, strict=True))
            result.append(coarser if octave in self.octaves else between)
        return result


def _octaves(finest: int | Size, stride: int | Size, spatial_dims: int) -> int:
    """How many doublings lead from a stride to the finest level's, along the axis that needs most."""
    pairs = zip(nd.ntuple(finest, spatial_dims), nd.ntuple(stride, spatial_dims), strict=True)
    return int(max(log2(s / f) for f, s in pairs))


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
