"""Convolution, batch norm and ReLU as one step, of one map or of a pyramid resized to its finest level."""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.resized_conv import resized_conv


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
