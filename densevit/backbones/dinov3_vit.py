"""DINOv3's ViTs: rotary positions, four registers, patches of 16 pixels. https://arxiv.org/abs/2508.10104

In 3D they are what weights of pictures can fill: each slice of a volume that repeats one gets the tokens of the
picture; with `inflated=False` all three axes share the angles alike, for training from the beginning.
"""

from collections.abc import Sequence
from functools import partial

from torch import nn

from densevit.backbones.base import Backbone
from densevit.backbones.dinov2 import ClassMeanHead
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.position import PrefixTokens
from densevit.blocks.rope import AxialRope, Jitter, Relate
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, SwiGLU
from densevit.options import read_options
from densevit.registry import BACKBONES

VARIANTS = {
    "dinov3_vit_small": dict(dim=384, depth=12, num_heads=6),
    "dinov3_vit_small_plus": dict(dim=384, depth=12, num_heads=6, gated_ratio=4),
    "dinov3_vit_base": dict(dim=768, depth=12, num_heads=12),
    "dinov3_vit_large": dict(dim=1024, depth=24, num_heads=16),
    "dinov3_vit_huge_plus": dict(dim=1280, depth=32, num_heads=20, gated_ratio=4),
    "dinov3_vit_7b": dict(dim=4096, depth=40, num_heads=32, gated_ratio=2, qkv_bias=False),
}
EPS = 1e-5


@BACKBONES.register(VARIANTS)
def dinov3_vit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    gated_ratio: float | None = None,
    qkv_bias: bool | str = "qv",
    patch_size: int | Sequence[int] = 16,
    num_registers: int = 4,
    jitter: dict[str, float] | None = None,
    inflated: bool = True,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `gated_ratio`: SwiGLU of that hidden width in place of GELU. `jitter` are the options of `blocks.rope.Jitter`, which
    change coordinates in training: shift, jitter, rescale; the authors trained with dict(rescale=2.0). `taps` and
    `norm` are those of `vit`. `inflated` (3D): angles of the last two axes as in pictures, those of the first axis are
    learned from zero, and the tokens before the grid count once for each slice.
    """
    patch = nd.ntuple(patch_size, spatial_dims)
    moved = read_options(Jitter, jitter or {}, where="jitter")
    rope = AxialRope(dim // num_heads, spatial_dims, jitter=moved, inflated=inflated)
    position = PrefixTokens(dim, num_tokens=1, num_registers=num_registers)
    relate = Relate(rope, counted=inflated)
    options = dict(kernel_size=patch, stride=patch, norm=False, position=position, relate=relate)

    def make_block(rate: float) -> nn.Module:
        ffn = Mlp(dim) if gated_ratio is None else SwiGLU(dim, ratio=gated_ratio)
        attention = SelfAttention(dim, num_heads=num_heads, qkv_bias=qkv_bias)
        return Block(dim, attention, ffn, drop_path=rate, eps=EPS, layer_scale=1e-5)

    return vit_backbone(
        PatchEmbed(spatial_dims, in_channels, dim, **options),
        make_block,
        depth=depth,
        drop_path=drop_path,
        eps=EPS,
        spatial_dims=spatial_dims,
        taps=taps,
        norm=norm,
        class_head=partial(ClassMeanHead, dim, depth=depth),
    )
