"""BiT: ResNet v2 with group norm and standardised kernels, a pyramid of strides 4 to 32.

https://arxiv.org/abs/1912.11370, https://arxiv.org/abs/1603.05027. In 2D and 3D. A norm and ReLU come before each
convolution, so that levels leave without one, but for the last, which passes the final norm and ReLU.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Stage
from densevit.backbones.resnet import EXPANSION, PooledStem
from densevit.blocks import nd
from densevit.blocks.group_norm import GroupNorm
from densevit.blocks.standard_conv import STANDARD_CONV, ZeroPaddedPool
from densevit.blocks.transformer import DropPath, drop_path_rates, init_vit_weights
from densevit.registry import BACKBONES

_R50, _R101, _R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
VARIANTS = {
    "bit_r50x1": dict(dim=64, depths=_R50),
    "bit_r50x3": dict(dim=192, depths=_R50),
    "bit_r101x1": dict(dim=64, depths=_R101),
    "bit_r101x3": dict(dim=192, depths=_R101),
    "bit_r152x2": dict(dim=128, depths=_R152),
    "bit_r152x4": dict(dim=256, depths=_R152),
}


@BACKBONES.register(VARIANTS)
def bit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depths: Sequence[int],
    num_groups: int = 32,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `dim` is the width of the stem and of the first stage's inner convolutions, a multiple of `num_groups`, the groups
    of the norms.
    """
    check_groups(num_groups, dim=dim)
    conv, pool = STANDARD_CONV[spatial_dims], ZeroPaddedPool(spatial_dims)
    stem = PooledStem(spatial_dims, in_channels, dim, conv=conv, norm=nn.Identity, activation=False, pool=pool)
    norm = partial(GroupNorm, num_groups)
    inner = [dim * 2**i for i in range(len(depths))]
    widths = [width * EXPANSION for width in inner]
    stages = []
    for i, rates in enumerate(drop_path_rates(drop_path, depths)):
        enters, blocks = widths[i - 1] if i else dim, []
        for j, rate in enumerate(rates):
            begins = dict(stride=1 if j or not i else 2, projects=not j, norm=norm)
            blocks.append(
                PreActivationBlock(spatial_dims, widths[i] if j else enters, inner[i], **begins, drop_path=rate)
            )
        stages.append(Stage(nn.Identity() if i else stem, blocks))
    backbone = Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=widths,
        out_strides=[4 * 2**i for i in range(len(depths))],
        out_norms=[*(nn.Identity() for _ in depths[1:]), ActivatedNorm(num_groups, widths[-1])],
    )
    return backbone.apply(init_vit_weights)


def check_groups(num_groups: int, **width: int) -> None:
    """Raise ValueError for a width, given by its name, that so many groups do not divide."""
    for name, value in width.items():
        if num_groups < 1 or value % num_groups:
            raise ValueError(f"{name} must be a multiple of num_groups, got {value} and {num_groups}")


class PreActivationBlock(nn.Module):
    """A bottleneck of 1, 3 and 1, a norm and ReLU before each: (B, *S, C_in) -> (B, *ceil(S / stride), 4 dim).

    With `projects`, the shortcut is a convolution of what the first of the three reads; else it is what came in. `norm`
    makes a norm of a width.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        stride: int = 1,
        projects: bool,
        norm: Callable[[int], nn.Module],
        drop_path: float = 0.0,
    ):
        super().__init__()
        conv, widths = partial(STANDARD_CONV[spatial_dims], bias=False), (in_channels, dim, dim, dim * EXPANSION)
        parts = zip(pairwise(widths), (1, 3, 1), (1, stride, 1), strict=True)
        self.convs = nn.ModuleList(conv(a, b, k, s, padding=k // 2) for (a, b), k, s in parts)
        self.norms = nn.ModuleList(norm(width) for width in widths[:-1])
        self.skip = conv(in_channels, widths[-1], 1, stride) if projects else None
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        image = before = nd.to_image(x)
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            image = F.relu(norm(image), inplace=True)
            if i == 0 and self.skip is not None:
                before = self.skip(image)
            image = conv(image)
        return nd.to_grid(self.drop_path(image) + before)


class ActivatedNorm(GroupNorm):
    """Group norm over all cells, then ReLU: (B, *S, C) -> (B, *S, C), or the same of tokens (B, N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return nd.to_grid(F.relu(super().forward(nd.to_image(x)), inplace=True))
