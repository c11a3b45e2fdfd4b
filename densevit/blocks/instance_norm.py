"""Instance norm without learned scale and shift, as fast in channels-last layout as convolutions are there.

Plain `F.instance_norm` is not used: in torch 2.13 its gradient on the CPU is wrong when the gradient that arrives has
channels-last layout, it copies such images twice, and it refuses an image of a single pixel.
"""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.blocks.convolution import is_plain_cpu

SLAB = 2**18  # numbers of a slab of rows; it stays in a core's cache from the first operation on it to the last


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
        mean, scale = _statistics(grid, eps)
        added = [None] * grid.numel() if beside is None else _slabs(beside[b])
        for slab, more in zip(_slabs(grid), added, strict=False):
            slab.sub_(mean).mul_(scale)
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
            mean, scale = _statistics(grid, eps)
            for slab, target in zip(_slabs(grid), _slabs(out), strict=True):
                torch.sub(slab, mean, out=target).mul_(scale)
            scales.append(scale)
        ctx.save_for_backward(normed, torch.stack(scales))
        return nd.to_image(normed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """(g - mean(g) - normed * mean(g * normed)) * scale, means over the pixels of a channel."""
        normed, scales = ctx.saved_tensors
        gradients = nd.to_grid(gradient).contiguous()
        result = torch.empty_like(gradients)
        for g, n, out, scale in zip(gradients, normed, result, scales, strict=True):
            mean, along = _mean(_slabs(g), g), _mean((a * b for a, b in zip(_slabs(g), _slabs(n), strict=True)), g)
            for a, b, target in zip(_slabs(g), _slabs(n), _slabs(out), strict=True):
                torch.mul(b, along, out=target).add_(mean)
                torch.sub(a, target, out=target).mul_(scale)
        return nd.to_image(result), None


def _slabs(grid: Tensor) -> tuple[Tensor, ...]:
    """(*S, C) -> views (rows, S[-1] * C) of a cache's size each: long rows of all channels, which are fast to add."""
    rows = grid.reshape(-1, grid.shape[-2] * grid.shape[-1])
    return rows.split(max(SLAB // rows.shape[1], 1))


def _statistics(grid: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and 1 / standard deviation of each channel of (*S, C), both repeated to the width of a slab."""
    mean = _mean(_slabs(grid), grid)
    variance = _mean(((slab - mean).square_() for slab in _slabs(grid)), grid)
    return mean, torch.rsqrt(variance + eps)


def _mean(slabs: tuple[Tensor, ...] | Iterator[Tensor], grid: Tensor) -> Tensor:
    """Mean of each channel over slabs of the grid (*S, C), repeated to the width of a slab: (S[-1] * C)."""
    columns, channels = grid.shape[-2:]
    total = grid.new_zeros(1, columns * channels)
    ones = grid.new_ones(1, max(SLAB // total.numel(), 1))
    for slab in slabs:
        total.addmm_(ones[:, : len(slab)], slab)  # a matrix product sums columns faster than `sum`
    return (total.view(columns, channels).sum(0) / (grid.numel() // channels)).repeat(columns)
