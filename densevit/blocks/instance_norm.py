"""Instance norm without learned scale and shift, as fast in channels-last layout as convolutions are there.

Plain `F.instance_norm` is not used: in torch 2.13 its gradient on the CPU is wrong when the gradient that arrives has
channels-last layout, it copies such images twice, and it refuses an image of a single pixel.

In a channel that is nearly constant, as air is, the norm makes the rounding error of the mean 300 times larger. So a
mean is found in two steps: a first one, then the mean of what is left when that is taken away.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.blocks.convolution import is_plain_cpu

SLAB = 2**18  # numbers of a slab of rows; it stays in a core's cache from the first operation on it to the last
MOST_ROWS = 2**10  # of a slab: as many numbers are added in the image's own precision, the sums of slabs in float64


def instance_norm(image: Tensor, *, residual: Tensor | None = None, slope: float = 1.0, eps: float = 1e-5) -> Tensor:
    """leaky_relu(norm(image) + residual, slope), with one mean and variance a sample and channel:
    (B, C, *S) -> (B, C, *S).

    May write into `image`. A single pixel is its own mean, so it becomes 0. On the CPU, channels-last images are worked
    on slab by slab; other devices and compilers get torch's own operators.
    """
    if not _in_slabs(image):
        normed = torch.group_norm(image.contiguous(), image.shape[1], eps=eps)  # one channel a group
    elif torch.is_grad_enabled():
        normed = _InstanceNorm.apply(image, eps)
    else:
        return _normalize_in_place(image, residual, slope=slope, eps=eps)
    total = normed if residual is None else normed + residual
    return total if slope == 1 else F.leaky_relu(total, slope, inplace=residual is not None)


def _in_slabs(image: Tensor) -> bool:
    known = is_plain_cpu(image) and image.dtype in (torch.float32, torch.float64)
    return known and nd.to_grid(image).is_contiguous()


def _normalize_in_place(image: Tensor, residual: Tensor | None, *, slope: float, eps: float) -> Tensor:
    beside = None if residual is None else nd.to_grid(residual).contiguous()
    for b, grid in enumerate(nd.to_grid(image)):
        mean, shift, scale = _statistics(grid, eps)
        added = [None] * grid.numel() if beside is None else _slabs(beside[b])
        for slab, more in zip(_slabs(grid), added, strict=False):
            torch.addcmul(shift, slab.sub_(mean), scale, out=slab)
            if more is not None:
                slab.add_(more)
            if slope != 1:
                F.leaky_relu_(slab, slope)
    return image


class _InstanceNorm(torch.autograd.Function):
    """The norm alone, out of place; keeps its result and a number per channel for the backward pass."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, eps: float) -> Tensor:
        grids = nd.to_grid(image)
        normed, scales = torch.empty_like(grids), []
        for grid, out in zip(grids, normed, strict=True):
            mean, shift, scale = _statistics(grid, eps)
            for slab, target in zip(_slabs(grid), _slabs(out), strict=True):
                torch.addcmul(shift, torch.sub(slab, mean, out=target), scale, out=target)
            scales.append(scale)
        ctx.save_for_backward(normed, torch.stack(scales))
        return nd.to_image(normed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """(g - mean(g) - normed * mean((g - mean(g)) * normed)) * scale, means over the pixels of a channel."""
        normed, scales = ctx.saved_tensors
        gradients = nd.to_grid(gradient).contiguous()
        result = torch.empty_like(gradients)
        for g, n, out, scale in zip(gradients, normed, result, scales, strict=True):
            mean = _mean(g)
            rest, along = _ColumnSums(g), _ColumnSums(g)
            for a, b in zip(_slabs(g), _slabs(n), strict=True):
                rest.add(centred := a - mean)
                along.add(centred.mul_(b))
            left, slant = -rest.mean() * scale, -along.mean()
            for a, b, target in zip(_slabs(g), _slabs(n), _slabs(out), strict=True):
                torch.addcmul(torch.sub(a, mean, out=target), b, slant, out=target)
                torch.addcmul(left, target, scale, out=target)
        return nd.to_image(result), None


def _slabs(grid: Tensor) -> tuple[Tensor, ...]:
    """(*S, C) -> views (rows, S[-1] * C) of a cache's size each: long rows of all channels, which are fast to add."""
    rows = grid.reshape(-1, grid.shape[-2] * grid.shape[-1])
    return rows.split(min(max(SLAB // rows.shape[1], 1), MOST_ROWS))


class _ColumnSums:
    """Adds up slabs of a grid (*S, C), for the mean of each channel."""

    def __init__(self, grid: Tensor):
        self.size = grid.shape
        self.ones = grid.new_ones(1, len(_slabs(grid)[0]))
        self.total = torch.zeros(grid.shape[-2] * grid.shape[-1], dtype=torch.float64, device=grid.device)

    def add(self, slab: Tensor) -> None:
        self.total += (self.ones[:, : len(slab)] @ slab)[0]  # a matrix product sums columns faster than `sum`

    def mean(self) -> Tensor:
        """Repeated to the width of a slab: (S[-1] * C)."""
        columns, channels = self.size[-2:]
        means = self.total.view(columns, channels).sum(0) / (self.size.numel() // channels)
        return means.to(self.ones.dtype).repeat(columns)


def _mean(grid: Tensor) -> Tensor:
    """Mean of each channel of (*S, C), to a few digits where it is far from zero; repeated to the width of a slab."""
    sums = _ColumnSums(grid)
    for slab in _slabs(grid):
        sums.add(slab)
    return sums.mean()


def _statistics(grid: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, shift and 1 / standard deviation of each channel of (*S, C), all repeated to the width of a slab.

    (x - mean) * scale + shift is the norm: the shift is what the mean's own rounding leaves.
    """
    mean, rest, squares = _mean(grid), _ColumnSums(grid), _ColumnSums(grid)
    for slab in _slabs(grid):
        rest.add(centred := slab - mean)
        squares.add(centred.square_())
    left = rest.mean()
    scale = torch.rsqrt((squares.mean() - left.square()).clamp_min_(0) + eps)
    return mean, -left * scale, scale
