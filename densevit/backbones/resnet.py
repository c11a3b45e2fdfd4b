"""ResNet: convolutions with shortcuts, a pyramid of strides 4 to 32. https://arxiv.org/abs/1512.03385

In 2D and 3D, as torchvision has it: of a bottleneck's convolutions the one of 3 x 3 (x 3) strides.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Stage
from densevit.blocks import nd
from densevit.blocks.transformer import DropPath, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "resnet18": dict(depths=(2, 2, 2, 2)),
    "resnet34": dict(depths=(3, 4, 6, 3)),
    "resnet50": dict(depths=(3, 4, 6, 3), bottleneck=True),
    "resnet101": dict(depths=(3, 4, 23, 3), bottleneck=True),
    "resnet152": dict(depths=(3, 8, 36, 3), bottleneck=True),
}
EXPANSION = 4  # what a bottleneck gives, in widths of its inner convolutions


@BACKBONES.register(VARIANTS)
def resnet(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int = 64,
    depths: Sequence[int],
    bottleneck: bool = False,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. `dim` is the width of the first stage's inner convolutions."""
    stages, widths = resnet_stages(
        spatial_dims, in_channels, dim=dim, depths=depths, bottleneck=bottleneck, drop_path=drop_path
    )
    return Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=widths,
        out_strides=[4 * 2**i for i in range(len(depths))],
    )


def resnet_stages(
    spatial_dims: int,
    in_channels: int,
    *,
    dim: int,
    depths: Sequence[int],
    bottleneck: bool,
    drop_path: float,
    stem: nn.Module | None = None,
    averaged: bool = False,
) -> tuple[list[Stage], list[int]]:
    """Stages with fresh weights, each of half the size of the one before, and the width of each.

    `stem` takes the place of `PooledStem`; `averaged` is that of `ResidualBlock`.
    """
    inner = [dim * 2**i for i in range(len(depths))]
    widths = [width * EXPANSION for width in inner] if bottleneck else inner
    stages = []
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        before = widths[i - 1] if i else dim
        blocks = [
            ResidualBlock(
                spatial_dims,
                widths[i] if j else before,
                inner[i],
                stride=2 if i and not j else 1,
                bottleneck=bottleneck,
                averaged=averaged,
                drop_path=rate,
            )
            for j, rate in enumerate(rates)
        ]
        first = stem or PooledStem(spatial_dims, in_channels, dim)
        stage = Stage(nn.Identity() if i else first, blocks)
        stages.append(stage.apply(init_vit_weights))
    return stages, widths


class PooledStem(nn.Module):
    """A convolution of 7, a norm, ReLU and max-pooling: (B, *S, C_in) -> (B, *ceil(S / 4), C).

    `conv` and `norm` make them, as `ResidualBlock` says; `pool` is another pooling.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        conv: Callable[..., nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        activation: bool = True,
        pool: nn.Module | None = None,
    ):
        super().__init__()
        self.proj = (conv or nd.CONV[spatial_dims])(in_channels, dim, 7, stride=2, padding=3, bias=False)
        self.norm = (norm or nd.BATCH_NORM[spatial_dims])(dim)
        self.activation = nn.ReLU(inplace=True) if activation else nn.Identity()
        self.pool = pool or nd.MAX_POOL[spatial_dims](3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nd.to_grid(self.pool(self.activation(self.norm(self.proj(nd.to_image(x))))))


class ResidualBlock(nn.Module):
    """Convolutions, each with a norm, beside a shortcut: (B, *S, C_in) -> (B, *ceil(S / stride), C).

    Two of 3 x 3 (x 3), whose C is `dim`; or a bottleneck of 1, 3 and 1, whose C is four times that. `conv` takes what
    torch's convolution takes, `norm` a width; they are convolutions and batch norm of torch by default. With `averaged`
    no convolution strides: what comes to the last one, and to the shortcut's, is averaged over the stride (CLIP).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        stride: int = 1,
        bottleneck: bool = False,
        conv: Callable[..., nn.Module] | None = None,
        norm: Callable[[int], nn.Module] | None = None,
        averaged: bool = False,
        drop_path: float = 0.0,
    ):
        super().__init__()
        conv, norm = conv or nd.CONV[spatial_dims], norm or nd.BATCH_NORM[spatial_dims]
        widths = (in_channels, dim, dim, dim * EXPANSION) if bottleneck else (in_channels, dim, dim)
        changes = stride > 1 or in_channels != widths[-1]
        self.average = nd.ntuple(stride, spatial_dims) if averaged and stride > 1 else None
        stride = 1 if averaged else stride
        kernels, strides = ((1, 3, 1), (1, stride, 1)) if bottleneck else ((3, 3), (stride, 1))
        parts = zip(pairwise(widths), kernels, strides, strict=True)
        self.convs = nn.ModuleList(conv(a, b, k, s, padding=k // 2, bias=False) for (a, b), k, s in parts)
        self.norms = nn.ModuleList(norm(width) for width in widths[1:])
        self.skip = conv(in_channels, widths[-1], 1, stride, bias=False) if changes else nn.Identity()
        self.skip_norm = norm(widths[-1]) if changes else nn.Identity()
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        image = before = nd.to_image(x)
        for conv, norm in zip(self.convs[:-1], self.norms[:-1], strict=True):
            image = F.relu(norm(conv(image)), inplace=True)
        if self.average is not None:
            image, before = nd.average(image, self.average), nd.average(before, self.average)
        image = self.drop_path(self.norms[-1](self.convs[-1](image)))
        return nd.to_grid(F.relu(image + self.skip_norm(self.skip(before)), inplace=True))
