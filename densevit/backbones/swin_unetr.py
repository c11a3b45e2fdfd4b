"""Swin UNETR's encoder: Swin whose every stage ends with a merging of patches. https://arxiv.org/abs/2201.01266"""

from collections.abc import Sequence

from torch import nn

from densevit.backbones.base import Backbone, Stage
from densevit.backbones.swin import init_linear_weights, times, window_blocks
from densevit.blocks.transformer import PatchEmbed, drop_path_rates
from densevit.blocks.window import PatchMerging
from densevit.registry import BACKBONES

VARIANTS = {
    "swin_unetr_tiny": dict(dim=12),
    "swin_unetr_small": dict(dim=24),
    "swin_unetr_base": dict(dim=48),
}
DEPTHS = (2, 2, 2, 2)
NUM_HEADS = (3, 6, 12, 24)


@BACKBONES.register(VARIANTS)
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
    """Build one member of the family; see VARIANTS.

    Five levels: the embedded patches, then the output of each stage. The weights that its authors published were
    trained with `merge_order="legacy"`, those of MONAI 1.5 and later with "fixed"; both load, and only one is right.
    """
    dims = [dim * 2**i for i in range(len(DEPTHS) + 1)]
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch_size, stride=patch_size, norm=False)
    stages = [Stage(embed, [])]
    for i, rates in enumerate(drop_path_rates(drop_path, DEPTHS)):
        blocks = window_blocks(
            spatial_dims,
            dims[i],
            num_heads=NUM_HEADS[i],
            window_size=window_size,
            small_maps=small_maps,
            drop_path=rates,
        )
        # What leaves a stage has been merged already: merging is its last block, not the next stage's beginning.
        merging = PatchMerging(spatial_dims, dims[i], merge_order=merge_order)
        stages.append(Stage(nn.Identity(), [*blocks, merging]))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=dims,
        out_strides=[times(patch_size, 2**i) for i in range(len(dims))],
        out_norms=[nn.LayerNorm(d, eps=1e-5, elementwise_affine=False) for d in dims],
    )
    return backbone.apply(init_linear_weights)
