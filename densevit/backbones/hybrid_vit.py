"""Hybrid ViT: a transformer whose patches are cells of a ResNet's map. https://arxiv.org/abs/2010.11929

The ResNet has group norm and standardised kernels as BiT has, and norms after its convolutions. Its stages before the
last are the fine levels, the transformer's blocks the coarse ones, as in TransUNet (https://arxiv.org/abs/2102.04306)
and DPT (https://arxiv.org/abs/2103.13413). In 2D and 3D, with a class token.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn

from densevit.backbones.base import Backbone, Stage
from densevit.backbones.bit import check_groups
from densevit.backbones.plain import quarter_ends, vit_backbone
from densevit.backbones.resnet import EXPANSION, PooledStem, ResidualBlock
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.group_norm import GroupNorm
from densevit.blocks.position import make_positions
from densevit.blocks.standard_conv import STANDARD_CONV, ZeroPaddedPool
from densevit.blocks.tokens import Tokens
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, init_vit_weights
from densevit.registry import BACKBONES

_R26, _R50 = (2, 2, 2, 2), (3, 4, 6, 3)
_BASE = dict(dim=768, depth=12, num_heads=12)
VARIANTS = {
    "vit_tiny_r_s16_p8": dict(depths=(), dim=192, depth=12, num_heads=3, patch_size=8),
    "vit_small_r26_s32": dict(depths=_R26, dim=384, depth=12, num_heads=6),
    "vit_base_r26_s32": dict(depths=_R26, **_BASE),
    "vit_base_r50_s16": dict(depths=(3, 4, 9), **_BASE),
    "vit_base_r50_s16_384": dict(depths=(3, 4, 9), **_BASE, image_size=384),
    "vit_large_r50_s32": dict(depths=_R50, dim=1024, depth=24, num_heads=16),
}
STEM_STRIDE = 4
EPS = 1e-6


@BACKBONES.register(VARIANTS)
def hybrid_vit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    stem_dim: int = 64,
    depths: Sequence[int],
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int = 1,
    num_groups: int = 32,
    image_size: int | Sequence[int] | None = None,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `depths` are the blocks of the ResNet's stages, each but the last of which leaves a level; where there are none, the
    stem leaves one. A patch is of `patch_size` cells of the last one's map. `taps` are the transformer's blocks,
    counted from 0, whose outputs leave as levels after those; by default the ends of its quarters, less one for each
    level of the ResNet, which makes four levels. `norm` says which of the transformer's levels pass the final norm:
    "last", "all" or "none". `image_size` is that for which the table of positions is made (224 in 2D, 96 in 3D); others
    get it resized. `drop_path` is for the transformer. `stem_dim` is the width of the ResNet's first convolution, a
    multiple of `num_groups`, the groups of the ResNet's norms.
    """
    check_groups(num_groups, stem_dim=stem_dim)
    *fine, last = _resnet_stages(spatial_dims, in_channels, stem_dim, depths=depths, num_groups=num_groups)
    widths = [stem_dim * EXPANSION * 2**i for i in range(len(depths))] or [stem_dim]
    strides = [STEM_STRIDE * 2**i for i in range(len(widths))]
    stride = strides[-1] * patch_size
    grid = nd.table_grid(spatial_dims, image_size, stride)
    position = make_positions("learned", dim, grid=grid, num_tokens=1, mode=nd.CUBIC_MODE[spatial_dims])
    patches = HybridEmbed(spatial_dims, widths[-1], dim, patch_size=patch_size, units=last, position=position)
    transformer = vit_backbone(
        patches,
        lambda rate: Block(dim, SelfAttention(dim, num_heads=num_heads), Mlp(dim), drop_path=rate, eps=EPS),
        depth=depth,
        drop_path=drop_path,
        eps=EPS,
        spatial_dims=spatial_dims,
        taps=quarter_ends(depth)[min(len(fine), 3) :] if taps is None else taps,
        norm=norm,
    )
    return Backbone(
        [*(Stage(part.apply(init_vit_weights), []) for part in fine), *transformer.stages],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=[*widths[: len(fine)], *transformer.out_channels],
        out_strides=[*strides[: len(fine)], *[stride] * len(transformer.stages)],
        out_norms=[*(nn.Identity() for _ in fine), *transformer.out_norms],
    )


def _resnet_stages(
    spatial_dims: int, in_channels: int, stem_dim: int, *, depths: Sequence[int], num_groups: int
) -> list[nn.Module]:
    """The ResNet in parts, each with its blocks in `units`: those that leave a level, then the last blocks alone."""
    conv, norm = partial(STANDARD_CONV[spatial_dims], same=True), partial(GroupNorm, num_groups)

    def make_units(i: int) -> nn.Module:
        inner, width = stem_dim * 2**i, stem_dim * 2**i * EXPANSION
        before, made_of = width // 2 if i else stem_dim, dict(bottleneck=True, conv=conv, norm=norm)
        first = ResidualBlock(spatial_dims, before, inner, stride=2 if i else 1, **made_of)
        others = (ResidualBlock(spatial_dims, width, inner, **made_of) for _ in range(1, depths[i]))
        return Stage(nn.Identity(), [first, *others])

    units = [make_units(i) for i in range(len(depths))] or [nn.Identity()]
    within_stem = units[0] if len(units) > 1 else nn.Identity()
    stem = HybridStem(spatial_dims, in_channels, stem_dim, units=within_stem, conv=conv, norm=norm)
    return [stem, *(nn.Sequential(OrderedDict(units=part)) for part in units[1:-1]), units[-1]]


class HybridStem(PooledStem):
    """A convolution of 7, a norm, ReLU, max-pooling, then `units`: (B, *S, C_in) -> (B, *ceil(S / 4), C)."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        units: nn.Module,
        conv: Callable[..., nn.Module],
        norm: Callable[[int], nn.Module],
    ):
        pool = ZeroPaddedPool(spatial_dims, same=True)
        super().__init__(spatial_dims, in_channels, dim, conv=conv, norm=norm, pool=pool)
        self.units = units

    def forward(self, x: Tensor) -> Tensor:
        return self.units(super().forward(x))


class HybridEmbed(PatchEmbed):
    """`units`, then patches of their map: (B, *S, C_in) -> Tokens (B, 1 + N, C), as `position` makes them."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        patch_size: int,
        units: nn.Module,
        position: nn.Module,
    ):
        patches = dict(kernel_size=patch_size, stride=patch_size, norm=False, position=position)
        super().__init__(spatial_dims, in_channels, dim, **patches)
        self.units = units

    def forward(self, x: Tensor) -> Tensor | Tokens:
        return super().forward(self.units(x))
