"""Two parts of Semantic FPN: the top-down path, and the branch that sums a pyramid. https://arxiv.org/abs/1901.02446"""

from collections.abc import Sequence
from math import log2

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.conv_norm import ConvNormReLU
from densevit.blocks.init import init_vit_weights
from densevit.blocks.upsample import upsampled_sum

Size = tuple[int, ...]


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
