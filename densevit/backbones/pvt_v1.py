"""PVT v1: pyramid of plain patches, position tables and spatial-reduction attention. https://arxiv.org/abs/2102.12122

The published code resizes a table only when the grid differs from that of the first stage, and so fails on some sizes;
here each stage looks at its own table.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.backbones.class_heads import PooledHead
from densevit.blocks import nd
from densevit.blocks.attention import SpatialReductionAttention, StridedReduction
from densevit.blocks.position import LearnedPositions
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "pvt_v1_tiny": dict(depths=(2, 2, 2, 2)),
    "pvt_v1_small": dict(depths=(3, 4, 6, 3)),
    "pvt_v1_medium": dict(depths=(3, 4, 18, 3)),
    "pvt_v1_large": dict(depths=(3, 8, 27, 3)),
}
DIMS = (64, 128, 320, 512)
STRIDES = (4, 8, 16, 32)
NUM_HEADS = (1, 2, 5, 8)
SR_RATIOS = (8, 4, 2, 1)
FFN_RATIOS = (8, 8, 4, 4)


@BACKBONES.register(VARIANTS)
def pvt_v1(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    depths: Sequence[int],
    image_size: int | Sequence[int] | None = None,
    class_token: bool = False,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `image_size` is that for which the position tables are made (224 in 2D, 96 in 3D); other images get them resized.
    `class_token` gives the last stage the token that only classification needs.
    """
    image_size = nd.ntuple(nd.TABLE_SIZE[spatial_dims] if image_size is None else image_size, spatial_dims)
    stages = []
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        blocks = [
            Block(DIMS[i], _attention(spatial_dims, i), Mlp(DIMS[i], ratio=FFN_RATIOS[i]), drop_path=rate)
            for rate in rates
        ]
        patch = 4 if i == 0 else 2
        position = LearnedPositions(
            DIMS[i],
            grid=nd.ceil_div(image_size, STRIDES[i]),
            num_tokens=int(class_token and i == 3),
            mode=nd.LINEAR_MODE[spatial_dims],
        )
        dim_in = in_channels if i == 0 else DIMS[i - 1]
        embed = PatchEmbed(spatial_dims, dim_in, DIMS[i], kernel_size=patch, stride=patch, position=position)
        stages.append(Stage(embed, blocks))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=DIMS,
        out_strides=STRIDES,
        class_head=partial(PooledHead, DIMS[-1], eps=1e-6),
    )
    return backbone.apply(init_vit_weights)


def _attention(spatial_dims: int, i: int) -> nn.Module:
    reduction = StridedReduction(spatial_dims, DIMS[i], ratio=SR_RATIOS[i]) if SR_RATIOS[i] > 1 else None
    return SpatialReductionAttention(DIMS[i], num_heads=NUM_HEADS[i], reduction=reduction)
