"""Swin Transformer: attention inside shifted windows, a pyramid by merging patches. https://arxiv.org/abs/2103.14030

In Swin UNETR's encoder (https://arxiv.org/abs/2201.01266) every stage ends with a merging of patches.
"""

from collections.abc import Sequence

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_linear_weights
from densevit.blocks.window import PatchMerging, WindowAttention
from densevit.registry import BACKBONES

VARIANTS = {
    "swin_tiny": dict(dim=96, depths=(2, 2, 6, 2)),
    "swin_small": dict(dim=96, depths=(2, 2, 18, 2)),
    "swin_base": dict(dim=128, depths=(2, 2, 18, 2)),
    "swin_large": dict(dim=192, depths=(2, 2, 18, 2)),
}
HEAD_DIM = 32
UNETR_VARIANTS = {
    "swin_unetr_tiny": dict(dim=12),
    "swin_unetr_small": dict(dim=24),
    "swin_unetr_base": dict(dim=48),
}
UNETR_DEPTHS, UNETR_HEADS = (2, 2, 2, 2), (3, 6, 12, 24)


@BACKBONES.register(VARIANTS)
def swin(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depths: Sequence[int],
    patch_size: int | Sequence[int] = 4,
    window_size: int | Sequence[int] = 7,
    small_maps: str = "shift",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. Weights trained at 384 pixels have `window_size=12`.

    Patches and windows may be longer along one axis than along another. Where one window covers an axis,
    `small_maps="shift"` does as the release for segmentation and "no_shift" as that for classification.
    """
    windows = dict(window_size=window_size, small_maps=small_maps)
    stages, dims = [], [dim * 2**i for i in range(len(depths))]
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch_size, stride=patch_size)
        blocks = _blocks(spatial_dims, dims[i], num_heads=dims[i] // HEAD_DIM, drop_path=rates, **windows)
        stages.append(Stage(PatchMerging(spatial_dims, dims[i - 1]) if i else embed, blocks))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=dims,
        out_strides=[_times(patch_size, 2**i) for i in range(len(dims))],
        out_norms=[nn.LayerNorm(d, eps=1e-5) for d in dims],
    )
    return backbone.apply(init_linear_weights)


@BACKBONES.register(UNETR_VARIANTS)
def swin_unetr(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    patch_size: int | Sequence[int] = 2,
    window_size: int | Sequence[int] = 7,
    small_maps: str = "shrink",
    merge_order: str = "fixed",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see UNETR_VARIANTS.

    Five levels: the embedded patches, then the output of each stage. The weights that its authors published were
    trained with `merge_order="legacy"`, those of MONAI 1.5 and later with "fixed"; both load, and only one is right.
    """
    windows = dict(window_size=window_size, small_maps=small_maps)
    dims = [dim * 2**i for i in range(len(UNETR_DEPTHS) + 1)]
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch_size, stride=patch_size, norm=False)
    stages = [Stage(embed, [])]
    for i, rates in enumerate(drop_path_rates(drop_path, UNETR_DEPTHS)):
        blocks = _blocks(spatial_dims, dims[i], num_heads=UNETR_HEADS[i], drop_path=rates, **windows)
        # What leaves a stage has been merged already: merging is its last block, not the next stage's beginning.
        merging = PatchMerging(spatial_dims, dims[i], merge_order=merge_order)
        stages.append(Stage(nn.Identity(), [*blocks, merging]))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=dims,
        out_strides=[_times(patch_size, 2**i) for i in range(len(dims))],
        out_norms=[nn.LayerNorm(d, eps=1e-5, elementwise_affine=False) for d in dims],
    )
    return backbone.apply(init_linear_weights)


def _blocks(
    spatial_dims: int,
    dim: int,
    *,
    num_heads: int,
    window_size: int | Sequence[int],
    small_maps: str,
    drop_path: Sequence[float],
) -> list[nn.Module]:
    """One block for each rate of `drop_path`; the windows of every other one are shifted."""
    common = dict(num_heads=num_heads, window_size=window_size, small_maps=small_maps)
    attentions = [WindowAttention(spatial_dims, dim, shifted=j % 2 == 1, **common) for j in range(len(drop_path))]
    return [
        Block(dim, attention, Mlp(dim), drop_path=rate, eps=1e-5)
        for attention, rate in zip(attentions, drop_path, strict=True)
    ]


def _times(size: int | Sequence[int], factor: int) -> int | tuple[int, ...]:
    return size * factor if isinstance(size, int) else tuple(s * factor for s in size)
