"""DINOv3's ConvNeXts: depthwise convolutions of 7 cells in place of attention, four strides.

https://arxiv.org/abs/2508.10104, of the networks of https://arxiv.org/abs/2201.03545. In 3D the convolutions have one
axis more, and weights of pictures inflate.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from densevit.backbones.base import Backbone, Stage
from densevit.backbones.class_heads import ClassHead, MeanHead
from densevit.blocks import nd
from densevit.blocks.transformer import DropPath, LayerScale, Mlp, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

_DIMS = (96, 192, 384, 768)
VARIANTS = {
    "dinov3_convnext_tiny": dict(dims=_DIMS, depths=(3, 3, 9, 3)),
    "dinov3_convnext_small": dict(dims=_DIMS, depths=(3, 3, 27, 3)),
    "dinov3_convnext_base": dict(dims=(128, 256, 512, 1024), depths=(3, 3, 27, 3)),
    "dinov3_convnext_large": dict(dims=(192, 384, 768, 1536), depths=(3, 3, 27, 3)),
}
EPS = 1e-6


class ConvNeXtBlock(nn.Module):
    """x + scale * mlp(norm(depthwise convolution)): (B, *S, C) -> (B, *S, C)."""

    def __init__(self, spatial_dims: int, dim: int, *, drop_path: float = 0.0, layer_scale: float = 1e-6):
        super().__init__()
        self.dwconv = nd.CONV[spatial_dims](dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim)
        self.ls = LayerScale(dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        mixed = nd.to_grid(self.dwconv(nd.to_image(x)))
        return x + self.drop_path(self.ls(self.mlp(self.norm(mixed))))


class ConvNeXtDownsample(nn.Module):
    """Patches of `stride` cells, whose LayerNorm comes before them or, in the stem, after: (B, *S, C) -> (B, *S', C').

    Zeros at the far ends fill the last patches.
    """

    def __init__(self, spatial_dims: int, dims: tuple[int, int], *, stride: int, is_stem: bool):
        super().__init__()
        self.stride, self.is_stem = stride, is_stem
        self.norm = nn.LayerNorm(dims[is_stem], eps=EPS)
        self.proj = nd.CONV[spatial_dims](*dims, stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        x = nd.pad_to_multiple(x if self.is_stem else self.norm(x), self.stride)
        x = nd.to_grid(self.proj(nd.to_image(x)))
        return self.norm(x) if self.is_stem else x


def _class_head(dim: int, num_classes: int) -> ClassHead:
    """The mean of the grid as its last block leaves it, then a LayerNorm."""
    head = MeanHead(dim, num_classes, eps=EPS)
    head.norm = False
    return head


@BACKBONES.register(VARIANTS)
def dinov3_convnext(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dims: Sequence[int],
    depths: Sequence[int],
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. The last level passes the norm of the whole, as in DINOv3."""
    stages = []
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        widths = ((in_channels, *dims)[i], dims[i])
        downsample = ConvNeXtDownsample(spatial_dims, widths, stride=2 if i else 4, is_stem=i == 0)
        stages.append(Stage(downsample, [ConvNeXtBlock(spatial_dims, dims[i], drop_path=rate) for rate in rates]))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=dims,
        out_strides=[4 * 2**i for i in range(len(dims))],
        out_norms=[*(nn.Identity() for _ in dims[1:]), nn.LayerNorm(dims[-1], eps=EPS)],
        class_head=partial(_class_head, dims[-1]),
    )
    return backbone.apply(init_vit_weights)
