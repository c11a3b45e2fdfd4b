"""PVT v2: pyramid of overlapping patches and spatial-reduction attention. https://arxiv.org/abs/2106.13797"""

from collections.abc import Sequence

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks.attention import PooledReduction, SpatialReductionAttention, StridedReduction
from densevit.blocks.transformer import Block, MixFFN, PatchEmbed, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "pvt_v2_b0": dict(dims=(32, 64, 160, 256), depths=(2, 2, 2, 2)),
    "pvt_v2_b1": dict(dims=(64, 128, 320, 512), depths=(2, 2, 2, 2)),
    "pvt_v2_b2": dict(dims=(64, 128, 320, 512), depths=(3, 4, 6, 3)),
    "pvt_v2_b2_li": dict(dims=(64, 128, 320, 512), depths=(3, 4, 6, 3), linear=True),
    "pvt_v2_b3": dict(dims=(64, 128, 320, 512), depths=(3, 4, 18, 3)),
    "pvt_v2_b4": dict(dims=(64, 128, 320, 512), depths=(3, 8, 27, 3)),
    "pvt_v2_b5": dict(dims=(64, 128, 320, 512), depths=(3, 6, 40, 3), ffn_ratios=(4, 4, 4, 4)),
}
NUM_HEADS = (1, 2, 5, 8)
SR_RATIOS = (8, 4, 2, 1)


@BACKBONES.register(VARIANTS)
def pvt_v2(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dims: Sequence[int],
    depths: Sequence[int],
    ffn_ratios: Sequence[float] = (8, 8, 4, 4),
    linear: bool = False,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. `linear` pools keys and values to 7 cells an axis ("b2-li")."""
    stages = []
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        dim_in = in_channels if i == 0 else dims[i - 1]
        kernel_size, stride = (7, 4) if i == 0 else (3, 2)
        blocks = [
            Block(
                dims[i],
                SpatialReductionAttention(
                    dims[i],
                    num_heads=NUM_HEADS[i],
                    reduction=_reduction(spatial_dims, dims[i], ratio=SR_RATIOS[i], linear=linear),
                ),
                MixFFN(spatial_dims, dims[i], ratio=ffn_ratios[i], activation_first=linear),
                drop_path=rate,
            )
            for rate in rates
        ]
        embed = PatchEmbed(spatial_dims, dim_in, dims[i], kernel_size=kernel_size, stride=stride)
        stages.append(Stage(embed, blocks, nn.LayerNorm(dims[i], eps=1e-6)))
    backbone = Backbone(
        stages, spatial_dims=spatial_dims, in_channels=in_channels, out_channels=dims, out_strides=(4, 8, 16, 32)
    )
    return backbone.apply(init_vit_weights)


def _reduction(spatial_dims: int, dim: int, *, ratio: int, linear: bool) -> nn.Module | None:
    if linear:
        return PooledReduction(spatial_dims, dim)
    return StridedReduction(spatial_dims, dim, ratio=ratio) if ratio > 1 else None
