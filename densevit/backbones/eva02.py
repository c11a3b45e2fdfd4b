"""EVA-02: a learned table and rotary positions, SwiGLU, in the larger ones with a norm inside.

https://arxiv.org/abs/2303.11331. In 3D they are what weights of pictures can fill: each slice of a volume that repeats
one gets the tokens of the picture; with `inflated=False` all three axes share the angles alike.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from densevit.backbones.base import Backbone
from densevit.backbones.class_heads import ClassHead, MeanHead
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.position import LearnedPositions
from densevit.blocks.rope import AxialRope, Relate
from densevit.blocks.transformer import Block, PatchEmbed, SwiGLU
from densevit.registry import BACKBONES

VARIANTS = {
    "eva02_tiny": dict(dim=192, depth=12, num_heads=3),
    "eva02_small": dict(dim=384, depth=12, num_heads=6),
    "eva02_base": dict(dim=768, depth=12, num_heads=12, sub_norm=True),
    "eva02_large": dict(dim=1024, depth=24, num_heads=16, sub_norm=True),
}
REFERENCE = 16  # cells of the pictures of 224 pixels, for whose coordinates the angles are


def _class_head(dim: int, num_classes: int) -> ClassHead:
    """The mean of the grid as its last block leaves it, then a LayerNorm, in place of that of dense maps."""
    head = MeanHead(dim, num_classes, eps=1e-6)
    head.norm = False
    return head


@BACKBONES.register(VARIANTS)
def eva02(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    sub_norm: bool = False,
    patch_size: int | Sequence[int] = 14,
    image_size: int | Sequence[int] | None = None,
    resizing: str = "size",
    inflated: bool = True,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `sub_norm`: a LayerNorm inside SwiGLU. `image_size` is that of the table of positions, 224 in 2D and 96 in 3D, which
    `resizing` fits to others: "size", or as timm does "antialias". Coordinates of angles are stretched so that every
    picture has 16 x 16. `taps` and `norm` are those of `vit`. `inflated` (3D) is that of `dinov3_vit`.
    """
    patch = nd.ntuple(patch_size, spatial_dims)
    grid = nd.table_grid(spatial_dims, image_size, patch)
    mode = nd.CUBIC_MODE[spatial_dims]
    position = LearnedPositions(dim, grid=grid, num_tokens=1, mode=mode, resizing=resizing)
    reference = (REFERENCE,) * spatial_dims
    rope = AxialRope(dim // num_heads, spatial_dims, base=10000.0, reference=reference, inflated=inflated)
    relate = Relate(rope, neighbours=True, counted=inflated)
    options = dict(kernel_size=patch, stride=patch, norm=False, position=position, relate=relate)

    def make_block(rate: float) -> nn.Module:
        attention = SelfAttention(dim, num_heads=num_heads, qkv_bias="qv")
        return Block(dim, attention, SwiGLU(dim, norm=sub_norm), drop_path=rate)

    return vit_backbone(
        PatchEmbed(spatial_dims, in_channels, dim, **options),
        make_block,
        depth=depth,
        drop_path=drop_path,
        eps=1e-6,
        spatial_dims=spatial_dims,
        taps=taps,
        norm=norm,
        class_head=partial(_class_head, dim),
    )
