"""MLP-Mixer: two linear layers between all cells of a grid in place of attention. https://arxiv.org/abs/2105.01601

The weights between cells belong to one grid, that of images of `image_size`, so the published network takes no other
image. Here any image goes, in one of two ways, which are the same on images of that size:
    mixing="windows"  cells are mixed within windows of that grid, side by side from the near corner; where one reaches
                      beyond the image, missing cells add nothing
    mixing="resized"  the weights are resized to the grid of the image, as tables of positions are, and keep their sums

All else in the network is the same at every cell. So the maps of an image whose sides are multiples of `image_size` are
those of its windows one by one, and inference with windows of that size (`roi_size`) gives each the network as it was
trained. In 3D the grid is one of volumes of `image_size`; weights of pictures inflate to it.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.transformer import Block, Mlp, PatchEmbed
from densevit.registry import BACKBONES

_SHAPES = {
    "small": dict(dim=512, depth=8),
    "base": dict(dim=768, depth=12),
    "large": dict(dim=1024, depth=24),
}
_RELEASED = (("small", 32), ("small", 16), ("base", 32), ("base", 16), ("large", 16))
VARIANTS = {f"mixer_{name}_p{patch}": dict(**_SHAPES[name], patch_size=patch) for name, patch in _RELEASED}
MIXINGS = ("windows", "resized")


@BACKBONES.register(VARIANTS)
def mlp_mixer(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    patch_size: int | Sequence[int] = 16,
    image_size: int | Sequence[int] | None = None,
    mixing: str = "windows",
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `image_size` is that of the images whose cells are mixed at once: 224 in 2D, 96 in 3D by default. `mixing` is
    "windows" or "resized": what becomes of other images. `taps` are the blocks, counted from 0, whose outputs leave as
    levels; the end of each quarter by default. `norm` says which of them pass the final norm: "last", "all" or "none".
    """
    if mixing not in MIXINGS:
        raise ValueError(f"mixing must be {' or '.join(map(repr, MIXINGS))}, got {mixing!r}")
    patch = nd.ntuple(patch_size, spatial_dims)
    image_size = nd.ntuple(nd.TABLE_SIZE[spatial_dims] if image_size is None else image_size, spatial_dims)
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch, stride=patch, norm=False)

    def make_block(rate: float) -> nn.Module:
        mixer = CellMixing(nd.ceil_div(image_size, patch), hidden=dim // 2, resized=mixing == "resized")
        return Block(dim, mixer, Mlp(dim), drop_path=rate)

    options = dict(depth=depth, drop_path=drop_path, spatial_dims=spatial_dims, taps=taps, norm=norm)
    return vit_backbone(embed, make_block, eps=1e-6, **options)


class CellLinear(nn.Module):
    """A linear map of cells, the same for every channel: (B, N, C) -> (B, M, C), `weight` (M, N) and `bias` (M).

    It multiplies from the left, so that nothing of the grid's size is transposed.
    """

    def __init__(self, cells_in: int, cells_out: int):
        super().__init__()
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(cells_out, cells_in), std=0.02))
        self.bias = nn.Parameter(torch.zeros(cells_out))

    def forward(self, x: Tensor) -> Tensor:
        return _from_left(x, self.weight, self.bias)


class CellMixing(nn.Module):
    """Linear, GELU, Linear along the N = prod(grid) cells, the same for every channel: (B, *S, C) -> (B, *S, C)."""

    def __init__(self, grid: Sequence[int], *, hidden: int, resized: bool = False):
        super().__init__()
        self.grid, self.resized = tuple(grid), resized
        self.fc1 = CellLinear(prod(self.grid), hidden)
        self.fc2 = CellLinear(hidden, prod(self.grid))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1:-1]
        if self.resized:
            return self._mix_resized(x.flatten(1, -2), size).unflatten(1, size)
        padded = nd.pad_to_multiple(x, self.grid)
        mixed = self.fc2(F.gelu(self.fc1(nd.partition_windows(padded, self.grid))))
        return nd.crop(nd.merge_windows(mixed, self.grid, padded.shape[1:-1]), size)

    def _mix_resized(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """(B, prod(size), C) -> (B, prod(size), C)."""
        tables = (self.fc1.weight, self.fc2.weight.mT, self.fc2.bias[None])
        first, second, bias = (_resize(table, self.grid, size) for table in tables)
        share = prod(self.grid) / prod(size)  # the same sum over more cells, or fewer
        hidden = _from_left(x, first * share, self.fc1.bias)
        return _from_left(F.gelu(hidden), second.mT, bias[0])


def _from_left(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, N, C), (M, N), (M) -> (B, M, C)."""
    return torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x)


def _resize(rows: Tensor, grid: Sequence[int], size: Sequence[int]) -> Tensor:
    """Each row a value for every cell of a grid, resized linearly: (K, prod(grid)) -> (K, prod(size))."""
    return nd.resize(rows.unflatten(1, grid)[None], size)[0].flatten(1)
