"""Plain Vision Transformer, all maps of one stride, from chosen depths. https://arxiv.org/abs/2010.11929

DeiT (https://arxiv.org/abs/2012.12877) is the same, and has one token more when it is distilled. Without bias in its
attention it is UNETR's encoder (https://arxiv.org/abs/2103.10504), whose paper takes the 3rd, 6th, 9th and 12th block,
whose code the 4th, 7th, 10th and 12th.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from densevit.backbones.base import Backbone
from densevit.backbones.class_heads import DistilledHead
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.position import make_positions
from densevit.blocks.transformer import Block, Mlp, PatchEmbed
from densevit.registry import BACKBONES

_BASE = dict(dim=768, depth=12, num_heads=12)
_TINY, _SMALL = dict(dim=192, depth=12, num_heads=3), dict(dim=384, depth=12, num_heads=6)
VARIANTS = {
    "vit_tiny": _TINY,
    "vit_small": _SMALL,
    "vit_base": _BASE,
    "vit_large": dict(dim=1024, depth=24, num_heads=16),
    "vit_huge": dict(dim=1280, depth=32, num_heads=16, patch_size=14),
    "unetr_vit_base": dict(**_BASE, image_size=96, qkv_bias=False, eps=1e-5, taps=(3, 6, 9, 11)),
    "deit_tiny": dict(**_TINY, num_tokens=1),
    "deit_small": dict(**_SMALL, num_tokens=1),
    "deit_base": dict(**_BASE, num_tokens=1),
    "deit_base_384": dict(**_BASE, num_tokens=1, image_size=384),
    "deit_tiny_distilled": dict(**_TINY, num_tokens=2),
    "deit_small_distilled": dict(**_SMALL, num_tokens=2),
    "deit_base_distilled": dict(**_BASE, num_tokens=2),
    "deit_base_distilled_384": dict(**_BASE, num_tokens=2, image_size=384),
}


@BACKBONES.register(VARIANTS)
def vit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int | Sequence[int] = 16,
    image_size: int | Sequence[int] | None = None,
    position: str | None = "learned",
    resizing: str = "size",
    num_tokens: int = 0,
    num_registers: int = 0,
    qkv_bias: bool = True,
    eps: float = 1e-6,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of each quarter by default. `norm`
    says which of them pass the final norm: "last", "all" or "none".
    `position` is "learned" (made for images of `image_size`: 224 in 2D, 96 in 3D; resized to others, by cubic
    interpolation in 2D and linear in 3D), "sincos" (of MAE and MONAI), "big_vision_sincos" or None.
    `resizing="dino"` resizes as DINO's authors do, whose factor of (n + 0.1) / N gives slightly other tables.
    `num_tokens` are put before those of the patches: 1 is the class token of ViT, 2 are those of the distilled DeiT.
    `num_registers` follow them, as in DINOv2.
    """
    patch = nd.ntuple(patch_size, spatial_dims)
    grid = nd.table_grid(spatial_dims, image_size, patch)
    before = dict(num_tokens=num_tokens, num_registers=num_registers)
    positions = make_positions(position, dim, grid=grid, mode=nd.CUBIC_MODE[spatial_dims], resizing=resizing, **before)
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch, stride=patch, norm=False, position=positions)

    def make_block(rate: float) -> nn.Module:
        attention = SelfAttention(dim, num_heads=num_heads, qkv_bias=qkv_bias)
        return Block(dim, attention, Mlp(dim), drop_path=rate, eps=eps)

    return vit_backbone(
        embed,
        make_block,
        depth=depth,
        drop_path=drop_path,
        eps=eps,
        spatial_dims=spatial_dims,
        taps=taps,
        norm=norm,
        class_head=partial(DistilledHead, dim) if num_tokens == 2 else None,
    )
