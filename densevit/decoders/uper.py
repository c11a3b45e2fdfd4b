"""UPerNet: pyramid pooling on the coarsest level, feature pyramid, fusion. https://arxiv.org/abs/1807.10221"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.pyramid import ConvNormReLU, PyramidConvNormReLU, upsampled_sum
from densevit.blocks.transformer import init_vit_weights
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS

POOL_SIZES = (1, 2, 3, 6)


@DECODERS.register({"uper": {}})
class UPerDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, dim, *S_0).

    `pool_sizes` are the cells an axis of the pooled maps. Batch norm follows each pooling: with the published size 1,
    training needs two images a batch, or several processes and sync_bn.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        dim: int = 512,
        pool_sizes: Sequence[int] = POOL_SIZES,
        dropout: float = 0.1,
    ):
        check_sizes(dim=dim, **{f"pool_sizes[{i}]": size for i, size in enumerate(pool_sizes)})
        widths = [dim] * len(in_channels)
        super().__init__(spatial_dims=spatial_dims, level_channels=widths, level_strides=in_strides)
        *finer, coarsest = in_channels
        self.psp_modules = nn.ModuleList(_Pool(spatial_dims, coarsest, dim, size=size) for size in pool_sizes)
        self.bottleneck = ConvNormReLU(spatial_dims, coarsest + dim * len(pool_sizes), dim, kernel_size=3)
        self.lateral_convs = nn.ModuleList(ConvNormReLU(spatial_dims, c, dim, kernel_size=1) for c in finer)
        self.fpn_convs = nn.ModuleList(ConvNormReLU(spatial_dims, dim, dim, kernel_size=3) for _ in finer)
        self.fpn_bottleneck = PyramidConvNormReLU(spatial_dims, widths, dim)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        self.apply(init_vit_weights)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The fused map, then the pyramid's coarser levels: (B, dim, *S_i) each."""
        *finer, coarsest = features
        pooled = [nd.resize(pool(coarsest), coarsest.shape[2:]) for pool in self.psp_modules]
        top = self.bottleneck(torch.cat([coarsest, *pooled], dim=1))
        laterals = [lateral(x) for lateral, x in zip(self.lateral_convs, finer, strict=True)]
        summed, above = [], top  # coarse to fine
        for lateral in laterals[::-1]:
            above = nd.to_image(upsampled_sum([nd.to_grid(lateral), nd.to_grid(above)]))
            summed.append(above)
        pyramid = [conv(x) for conv, x in zip(self.fpn_convs, summed[::-1], strict=True)]
        fused = self.fpn_bottleneck([*pyramid, top])
        return [DenseMap(self.dropout(fused)), *map(DenseMap, [*pyramid, top][1:])]


class _Pool(nn.Module):
    """Average over `size` cells an axis, 1 x 1 convolution, norm, ReLU: (B, C_in, *S) -> (B, C_out, *(size, ...))."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, *, size: int):
        super().__init__()
        self.pool = nd.ADAPTIVE_AVG_POOL[spatial_dims]
        self.size = nd.ntuple(size, spatial_dims)
        self.project = ConvNormReLU(spatial_dims, in_channels, out_channels, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.project(self.pool(x, self.size))
