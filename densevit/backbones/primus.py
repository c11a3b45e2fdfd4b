"""Primus: plain ViTs on cells of 8 voxels an axis, with rotary positions, made for volumes. https://arxiv.org/abs/2503.01835

The second version reads images through residual convolutions, the third adds their finer maps to the tokens. All work
in 2D too, where a pair of channels of each head is left unturned. The decoder of the paper is `patch_decode`.
"""

from collections.abc import Sequence
from math import sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.group_norm import GroupNorm
from densevit.blocks.position import make_positions
from densevit.blocks.rope import AxialRope, Relate
from densevit.blocks.tokens import DropTokens, Tokens
from densevit.blocks.transformer import (
    Block,
    PatchEmbed,
    SwiGLU,
    drop_path_rates,
    init_conv_weights,
    init_linear_weights,
)
from densevit.registry import BACKBONES

_SIZES = {
    "small": dict(dim=396, depth=12, num_heads=6),
    "base": dict(dim=792, depth=12, num_heads=12),
    "medium": dict(dim=864, depth=16, num_heads=12),
    "large": dict(dim=1056, depth=24, num_heads=16),
}
_V2 = dict(stem_dims=(32, 32, 64, 128))
_V3 = dict(stem_dims=(32, 64, 256, 1024), slope=0.01, skips=True)
VARIANTS = {f"primus_{size}": options for size, options in _SIZES.items()}
VARIANTS |= {f"primus_v2_{size}": {**options, **_V2} for size, options in _SIZES.items()}
VARIANTS |= {f"primus_v3_{size}": {**options, **_V3} for size, options in _SIZES.items()}
EPS = 1e-5
SCALE = 0.1  # with which the branches of blocks begin
SKIP_SCALE = 1e-5  # with which the finer maps begin


def _instance_norm(dim: int) -> nn.Module:
    """One group a channel, which is fast on the CPU, and takes a single pixel."""
    return GroupNorm(dim, dim, eps=EPS)


class StemBlock(nn.Module):
    """Two 3 x 3 (x 3) convolutions with instance norms, as in ResNet-D: (B, C_in, *S) -> (B, C_out, *S / stride).

    The shortcut is a mean over strides, then a normed 1 x 1 convolution where the widths differ.
    """

    def __init__(
        self, spatial_dims: int, in_channels: int, dim: int, *, stride: int = 1, bias: bool = False, slope: float = 0.0
    ):
        super().__init__()
        conv = nd.CONV[spatial_dims]
        self.conv1 = conv(in_channels, dim, 3, stride, padding=1, bias=bias)
        self.norm1 = _instance_norm(dim)
        self.conv2 = conv(dim, dim, 3, padding=1, bias=bias)
        self.norm2 = _instance_norm(dim)
        wider = in_channels != dim
        self.skip = conv(in_channels, dim, 1, bias=False) if wider else nn.Identity()
        self.skip_norm = _instance_norm(dim) if wider else nn.Identity()
        self.stride, self.slope = stride, slope

    def forward(self, x: Tensor) -> Tensor:
        y = F.leaky_relu(self.norm1(self.conv1(x)), self.slope, inplace=True)
        if self.stride > 1:
            x = nd.AVG_POOL[x.ndim - 2](x, self.stride)
        y = self.norm2(self.conv2(y)) + self.skip_norm(self.skip(x))
        return F.leaky_relu(y, self.slope, inplace=True)


class StemEmbed(nn.Module):
    """Residual convolutions, then a linear map of each cell: (B, *S, C_in) -> Tokens (B, T + N, dim) of ceil(S / 8).

    `dims` are the widths of the image's resolution and of each halving; sizes are filled up with zeros to multiples of
    the whole stride. With `skips` all maps but the last are added to the tokens, each by a convolution and a factor.
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        dims: Sequence[int],
        slope: float,
        skips: bool,
        position: nn.Module,
        relate: nn.Module,
    ):
        super().__init__()
        conv, self.stride = nd.CONV[spatial_dims], 2 ** (len(dims) - 1)
        before = (in_channels, *dims)
        self.blocks = nn.ModuleList(
            StemBlock(spatial_dims, before[i], d, stride=2 if i else 1, bias=not i, slope=slope)
            for i, d in enumerate(dims)
        )
        self.proj = conv(dims[-1], dim, 1)
        cells = [self.stride // 2**i for i in range(len(dims) - 1)] if skips else []
        self.skips = nn.ModuleList(conv(d, dim, n, n) for d, n in zip(dims, cells, strict=False))
        self.scales = nn.ParameterList(torch.tensor(SKIP_SCALE) for _ in cells)
        self.position, self.relate = position, relate

    def forward(self, x: Tensor) -> Tokens:
        x, added = nd.to_image(nd.pad_to_multiple(x, self.stride)), []
        x = x.flatten(1).unflatten(1, x.shape[1:])  # the layout of images, also where a single channel has both
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i < len(self.skips):
                added.append(self.skips[i](x) * self.scales[i])
        return self.relate(self.position(nd.to_grid(sum(added, self.proj(x)))))


@BACKBONES.register(VARIANTS)
def primus(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int | Sequence[int] = 8,
    stem_dims: Sequence[int] | None = None,
    slope: float = 0.0,
    skips: bool = False,
    image_size: int | Sequence[int] | None = None,
    num_registers: int = 0,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
    token_drop: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. The paper trains with `drop_path=0.2`.

    `image_size` is that of the crops, 96 in 3D and 224 in 2D by default: for it the table of positions is made, and
    coordinates of rotary positions are stretched to it. `stem_dims` are the widths of a stem of convolutions, of
    `slope` on the negative side, in place of patches; with it the stride is 8, and so is `patch_size`. `taps` and
    `norm` are those of `vit`. `token_drop` is the share of cells that no block sees while the model is trained; they
    are zero in the maps that leave (`patch_drop_rate` of the authors' package).
    """
    stride = nd.ntuple(patch_size, spatial_dims)
    if stem_dims is not None and set(stride) != {2 ** (len(stem_dims) - 1)}:
        raise ValueError(f"patch_size={patch_size!r} is not the stride of stem_dims={tuple(stem_dims)}; leave it out")
    grid = nd.table_grid(spatial_dims, image_size, stride)
    mode = nd.CUBIC_MODE[spatial_dims]
    position = make_positions("learned", dim, grid=grid, num_registers=num_registers, mode=mode)
    relate = Relate(AxialRope(dim // num_heads, spatial_dims, base=10000.0, reference=grid), neighbours=True)
    if token_drop:
        relate = nn.Sequential(relate, DropTokens(token_drop))
    places = dict(position=position, relate=relate)
    if stem_dims is None:
        embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=stride, stride=stride, norm=False, **places)
    else:
        embed = StemEmbed(spatial_dims, in_channels, dim, dims=stem_dims, slope=slope, skips=skips, **places)
    blocks = [_block(dim, num_heads, rate) for rate in drop_path_rates(drop_path, [depth])[0]]
    backbone = plain_backbone(
        embed,
        blocks,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=patch_size,
        taps=taps,
        norm=nn.LayerNorm(dim, eps=EPS),
        normed=norm,
    )
    _init_weights(backbone, blocks)
    return backbone


def _block(dim: int, num_heads: int, drop_path: float) -> Block:
    attention = SelfAttention(dim, num_heads=num_heads, qkv_bias="qv", inner_norm=True, eps=EPS)
    return Block(dim, attention, SwiGLU(dim, norm=True, eps=EPS), drop_path=drop_path, eps=EPS, layer_scale=SCALE)


def _init_weights(backbone: Backbone, blocks: Sequence[Block]) -> None:
    """As published: the last maps of a branch begin smaller the deeper they are, convolutions by their fan-in."""
    backbone.apply(init_linear_weights)
    with torch.no_grad():
        for i, block in enumerate(blocks, start=1):
            block.attn.proj.weight /= sqrt(2 * i)
            block.mlp.w3.weight /= sqrt(2 * i)
    backbone.apply(init_conv_weights)
