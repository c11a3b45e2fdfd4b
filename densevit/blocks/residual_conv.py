"""The convolutional residual block of UNETR and Swin UNETR (https://arxiv.org/abs/2103.10504), fast on a CPU.

For an image (1, C, D, H, W) with C * D * H up to 20480, torch unfolds every neighbourhood instead of calling oneDNN: a
volume of 16 channels and 32 pixels an axis takes 13 times as long as it must. Channels-last layout, in which oneDNN is
at its best here, has a slow path of its own: 1 x 1 kernels, which are matrix products.

Plain `F.instance_norm` is not used: in torch 2.13 its gradient on the CPU is wrong when the gradient that arrives has
channels-last layout, it copies such images twice, and it refuses an image of a single pixel. In a channel that is
nearly constant, as air is, the norm makes the rounding error of the mean 300 times larger. So a mean is found in two
steps: a first one, then the mean of what is left when that is taken away.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.traced import is_plain_cpu

SLOPE = 0.01  # of the leaky ReLU
EPS = 1e-5  # of the norm
SLAB = 2**18  # numbers of a slab of rows; it stays in a core's cache from the first operation on it to the last
MOST_ROWS = 2**10  # of a slab: as many numbers are added in the image's own precision, the sums of slabs in float64


class ResidualConv(nn.Module):
    """Two 3 x 3 (x 3) convolutions with instance norm and leaky ReLU: (B, C_in, *S) -> (B, C_out, *S).

    The shortcut is the input itself, or a normed 1 x 1 convolution of it where the widths differ.
    """

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int):
        super().__init__()
        conv = nd.CONV[spatial_dims]
        self.conv1 = conv(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = conv(out_channels, out_channels, 3, padding=1, bias=False)
        self.conv3 = conv(in_channels, out_channels, 1, bias=False) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        y = instance_norm(convolve(x, self.conv1), slope=SLOPE)
        y = convolve(y, self.conv2)
        shortcut = x if self.conv3 is None else instance_norm(convolve(x, self.conv3))
        return instance_norm(y, residual=shortcut, slope=SLOPE)


def convolve(image: Tensor, conv: nn.Module) -> Tensor:
    """What `conv`, a convolution of stride 1, makes of the image, by the fastest way: (B, C_in, *S) -> (B, C_out, *S).

    On the CPU the result has channels-last layout. Other devices, compilers and types get torch's own choice.
    """
    known = is_plain_cpu(image) and image.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    if not (known and torch.backends.mkldnn.is_available()):
        return conv(image)
    image = image.to(memory_format=nd.CHANNELS_LAST[image.ndim - 2])
    if set(conv.kernel_size) == {1}:
        return nd.to_image(F.linear(nd.to_grid(image), conv.weight.flatten(1), conv.bias))
    return torch.mkldnn_convolution(
        image, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups
    )


def instance_norm(image: Tensor, *, residual: Tensor | None = None, slope: float = 1.0) -> Tensor:
    """leaky_relu(norm(image) + residual, slope), with one mean and variance a sample and channel:
    (B, C, *S) -> (B, C, *S).

    May write into `image`. A single pixel is its own mean, so it becomes 0. On the CPU, channels-last images are worked
    on slab by slab; other devices and compilers get torch's own operators.
    """
    if not _in_slabs(image):
        normed = torch.group_norm(image.contiguous(), image.shape[1], eps=EPS)  # one channel a group
    elif torch.is_grad_enabled():
        normed = _InstanceNorm.apply(image)
    else:
        return _normalize_in_place(image, residual, slope=slope)
    total = normed if residual is None else normed + residual
    return total if slope == 1 else F.leaky_relu(total, slope, inplace=residual is not None)


def _in_slabs(image: Tensor) -> bool:
    known = is_plain_cpu(image) and image.dtype in (torch.float32, torch.float64)
    return known and nd.to_grid(image).is_contiguous()


def _normalize_in_place(image: Tensor, residual: Tensor | None, *, slope: float) -> Tensor:
    beside = None if residual is None else nd.to_grid(residual).contiguous()
    for b, grid in enumerate(nd.to_grid(image)):
        mean, shift, scale = _statistics(grid)
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
    def forward(ctx: Any, image: Tensor) -> Tensor:
        grids = nd.to_grid(image)
        normed, scales = torch.empty_like(grids), []
        for grid, out in zip(grids, normed, strict=True):
            mean, shift, scale = _statistics(grid)
            for slab, target in zip(_slabs(grid), _slabs(out), strict=True):
                torch.addcmul(shift, torch.sub(slab, mean, out=target), scale, out=target)
            scales.append(scale)
        ctx.save_for_backward(normed, torch.stack(scales))
        return nd.to_image(normed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """(g - mean(g) - normed * mean((g - mean(g)) * normed)) * scale, means over the pixels of a channel."""
        normed, scales = ctx.saved_tensors
        gradients = nd.to_grid(gradient).contiguous()
        result = torch.empty_like(gradients)
        for g, n, out, scale in zip(gradients, normed, result, scales, strict=True):
            mean, buffer = _mean(g), torch.empty_like(_slabs(g)[0])
            rest = along = 0
            for a, b in zip(_slabs(g), _slabs(n), strict=True):
                rest += _sum_columns(torch.sub(a, mean, out=(part := buffer[: len(a)])))
                along += _sum_columns(part.mul_(b))
            left, slant = -_channel_means(rest, g) * scale, -_channel_means(along, g)
            for a, b, target in zip(_slabs(g), _slabs(n), _slabs(out), strict=True):
                torch.addcmul(torch.sub(a, mean, out=target), b, slant, out=target)
                torch.addcmul(left, target, scale, out=target)
        return nd.to_image(result)


def _slabs(grid: Tensor) -> tuple[Tensor, ...]:
    """(*S, C) -> views (rows, S[-1] * C) of a cache's size each: long rows of all channels, which are fast to add."""
    rows = grid.reshape(-1, grid.shape[-2] * grid.shape[-1])
    return rows.split(min(max(SLAB // rows.shape[1], 1), MOST_ROWS))


def _statistics(grid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, shift and 1 / standard deviation of each channel of (*S, C), all repeated to the width of a slab.

    (x - mean) * scale + shift is the norm: the shift is what the mean's own rounding leaves.
    """
    mean, buffer = _mean(grid), torch.empty_like(_slabs(grid)[0])
    rest = squares = 0
    for slab in _slabs(grid):
        rest += _sum_columns(torch.sub(slab, mean, out=(part := buffer[: len(slab)])))
        squares += _sum_columns(part.square_())
    left = _channel_means(rest, grid)
    scale = torch.rsqrt((_channel_means(squares, grid) - left.square()).clamp_min_(0) + EPS)
    return mean, -left * scale, scale


def _mean(grid: Tensor) -> Tensor:
    """Mean of each channel of (*S, C), to a few digits where it is far from zero."""
    return _channel_means(sum(map(_sum_columns, _slabs(grid))), grid)


def _sum_columns(slab: Tensor) -> Tensor:
    """(rows, S[-1] * C) -> (S[-1] * C) in float64; a matrix product is faster than `sum`."""
    return (slab.new_ones(1, len(slab)) @ slab)[0].double()


def _channel_means(sums: Tensor, grid: Tensor) -> Tensor:
    """Sums over the columns of (*S, C) -> mean of each channel, repeated to the width of a slab: (S[-1] * C)."""
    columns, channels = grid.shape[-2:]
    means = sums.view(columns, channels).sum(0) / (grid.numel() // channels)
    return means.to(grid.dtype).repeat(columns)
