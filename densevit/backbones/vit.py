"""Plain Vision Transformer, all maps of one stride, from chosen depths. https://arxiv.org/abs/2010.11929

With one class token more it is DeiT (https://arxiv.org/abs/2012.12877); without bias in its attention, UNETR's encoder
(https://arxiv.org/abs/2103.10504), whose paper takes the 3rd, 6th, 9th and 12th block, whose code the 4th, 7th, 10th
and 12th.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.position import make_positions
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

_BASE = dict(dim=768, depth=12, num_heads=12)
VARIANTS = {
    "vit_tiny": dict(dim=192, depth=12, num_heads=3),
    "vit_small": dict(dim=384, depth=12, num_heads=6),
    "vit_base": dict(**_BASE),
    "vit_large": dict(dim=1024, depth=24, num_heads=16),
    "vit_huge": dict(dim=1280, depth=32, num_heads=16, patch_size=14),
    "unetr_vit_base": dict(**_BASE, image_size=96, qkv_bias=False, eps=1e-5, taps=(3, 6, 9, 11)),
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
    interpolation in 2D and linear in 3D), "sincos" or None. `resizing="dino"` resizes as DINO's authors do, whose
    factor of (n + 0.1) / N gives slightly other tables. `num_tokens` are put before those of the patches: 1 is
    the class token of ViT, 2 are those of the distilled DeiT. `num_registers` follow them, as in DINOv2.
    """
    taps = _checked([(i + 1) * depth // 4 - 1 for i in range(4)] if taps is None else taps, depth)
    patch = nd.ntuple(patch_size, spatial_dims)
    image_size = nd.TABLE_SIZE[spatial_dims] if image_size is None else image_size
    grid = nd.ceil_div(nd.ntuple(image_size, spatial_dims), patch)
    before = dict(num_tokens=num_tokens, num_registers=num_registers)
    positions = make_positions(position, dim, grid=grid, mode=nd.CUBIC_MODE[spatial_dims], resizing=resizing, **before)
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch, stride=patch, norm=False, position=positions)

    def make_block(rate: float) -> nn.Module:
        attention = SelfAttention(dim, num_heads=num_heads, qkv_bias=qkv_bias)
        return Block(dim, attention, Mlp(dim), drop_path=rate, eps=eps)

    rates = drop_path_rates(drop_path, [b - a for a, b in pairwise([-1, *taps])])
    backbone = Backbone(
        [Stage(nn.Identity() if i else embed, [make_block(r) for r in part]) for i, part in enumerate(rates)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=[dim] * len(taps),
        out_strides=[patch_size if isinstance(patch_size, int) else patch] * len(taps),
        out_norms=_final_norms(norm, nn.LayerNorm(dim, eps=eps), len(taps)),
    )
    backbone.apply(init_vit_weights)
    nn.init.trunc_normal_(embed.proj.weight, std=(in_channels * prod(patch)) ** -0.5)  # linear on patches: by fan-in
    return backbone


def _checked(taps: Sequence[int], depth: int) -> list[int]:
    if list(taps) != sorted({*taps, depth - 1}) or taps[0] < 0:
        raise ValueError(f"taps must rise from 0 or more to {depth - 1}, the last of {depth} blocks, got {tuple(taps)}")
    return list(taps)


def _final_norms(which: str, norm: nn.Module, count: int) -> list[nn.Module]:
    """The final norm for each level that passes it: one module, whose weights are shared where there are several."""
    normed = {"last": [count - 1], "all": range(count), "none": []}
    if which not in normed:
        raise ValueError(f"norm must be 'last', 'all' or 'none', got {which!r}")
    return [norm if i in normed[which] else nn.Identity() for i in range(count)]
