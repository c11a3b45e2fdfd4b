"""Tokens-to-Token ViT: patches that overlap are made tokens in three steps, then a narrow ViT. https://arxiv.org/abs/2101.11986

In 2D and 3D, at any size. Before each step a token is all that stands in a window (the soft split), which overlaps with
its neighbours; the first two steps let these tokens attend to each other, the third one gives the cells of the ViT.
Slices beyond the ends of a volume repeat its first and its last one there, so that a volume which repeats a picture has
the picture's features; beyond the other borders are zeros, as published. Maps but for the last leave without a norm.
"""

from collections.abc import Sequence
from math import prod, sqrt
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.attention import Attend, Places, SelfAttention, everywhere
from densevit.blocks.position import LearnedPositions
from densevit.blocks.tokens import Tokens
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES

_14 = dict(dim=384, depth=14, num_heads=6)
_19 = dict(dim=448, depth=19, num_heads=7)
_24 = dict(dim=512, depth=24, num_heads=8)
VARIANTS = {
    "t2t_vit_7": dict(dim=256, depth=7, num_heads=4, ffn_ratio=2),
    "t2t_vit_10": dict(dim=256, depth=10, num_heads=4, ffn_ratio=2),
    "t2t_vit_12": dict(dim=256, depth=12, num_heads=4, ffn_ratio=2),
    "t2t_vit_14": _14,
    "t2t_vit_19": _19,
    "t2t_vit_24": _24,
    "t2t_vit_t_14": dict(**_14, performer=False),
    "t2t_vit_t_19": dict(**_19, performer=False),
    "t2t_vit_t_24": dict(**_24, performer=False),
}


class Split(NamedTuple):
    """A soft split: the windows of a picture, or of a volume, overlap where they are larger than their stride."""

    kernel_size: int
    stride: int


SPLITS = (Split(7, 4), Split(3, 2), Split(3, 2))
PATCH = prod(split.stride for split in SPLITS)
EPS = 1e-5
DROPOUT = 0.1  # of performers


@BACKBONES.register(VARIANTS)
def t2t_vit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    ffn_ratio: float = 3,
    token_dim: int = 64,
    performer: bool = True,
    image_size: int | Sequence[int] | None = None,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    The tokens of the first two steps have `token_dim` channels. They attend by random features, in linear time, or
    without `performer` each to each. `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of
    each quarter by default. `image_size` is that for which the fixed table of positions is made (224 in 2D, 96 in 3D);
    others get it resized.
    """
    grid = nd.table_grid(spatial_dims, image_size, PATCH)
    position = NumberedPositions(dim, grid=grid, num_tokens=1, mode=nd.CUBIC_MODE[spatial_dims])

    def make_block(rate: float) -> nn.Module:
        attention = SelfAttention(dim, num_heads=num_heads, qkv_bias=False)
        return Block(dim, attention, Mlp(dim, ratio=ffn_ratio), drop_path=rate, eps=EPS)

    backbone = plain_backbone(
        TokensToTokens(spatial_dims, in_channels, dim, token_dim=token_dim, performer=performer, position=position),
        [make_block(rate) for rate in drop_path_rates(drop_path, [depth])[0]],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=PATCH,
        taps=taps,
        norm=nn.LayerNorm(dim, eps=EPS),
    )
    return backbone.apply(_init_weights)


def _init_weights(module: nn.Module) -> None:
    """As published, where the maps of windows are linear layers."""
    init_linear_weights(module)
    if isinstance(module, nd.CONVOLUTIONS):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class NumberedPositions(LearnedPositions):
    """As learned ones, but the table is fixed: sines and cosines of the number of each row, the class token's first."""

    def __init__(self, dim: int, *, grid: Sequence[int], num_tokens: int, mode: str):
        super().__init__(dim, grid=grid, num_tokens=num_tokens, mode=mode)
        rows, device = self.pos_embed.shape[1], self.pos_embed.device
        del self.pos_embed
        options = dict(dtype=torch.double, device="cpu")  # arithmetic on meta imports the compiler
        rates = 10000.0 ** (-torch.arange(0, dim, 2, **options) / dim)
        angles = torch.arange(rows, **options)[:, None] * rates
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None].float()
        self.register_buffer("pos_embed", waves.to(device))


class RandomFeatures(Attend):
    """Attention by products of positive features: q (B, H, N, K), k (B, H, M, K), v (B, H, M, V) -> (B, H, N, V).

    The features exp(w x - |x|^2 / 2) of fixed random w stand for a softmax without a scale, and the weights of all
    pairs need not be made (Performer, https://arxiv.org/abs/2009.14794). `eps` keeps the sum of weights from being 0.
    """

    def __init__(self, dim: int, *, ratio: float = 0.5, eps: float = 1e-8):
        super().__init__()
        self.eps, count = eps, int(dim * ratio)
        self.register_buffer("w", nn.init.orthogonal_(torch.empty(count, dim), gain=sqrt(count)))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        device = "cpu" if q.is_meta else q.device.type  # autocast knows no meta
        with torch.autocast(device, enabled=False):  # half precision does not hold the exponentials
            q, k = self._features(q), self._features(k)
            total = q @ k.sum(-2).unsqueeze(-1)  # (B, H, N, 1)
            return q @ (k.mT @ v.to(q.dtype)) / (total + self.eps)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, H, N, M): how much each query takes of each key's value; a row sums to 1, but for `eps`."""
        products = self._features(q) @ self._features(k).mT
        return products / (products.sum(-1, keepdim=True) + self.eps)

    def _features(self, x: Tensor) -> Tensor:
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        return (x @ self.w.mT - x.square().sum(-1, keepdim=True) / 2).exp() / sqrt(len(self.w))


class TokenStep(nn.Module):
    """A soft split, attention of the tokens, and a network: (B, *S, C_in) -> (B, *(S / stride), C).

    S must divide by the stride. A token is all that stands in its window, (C_in, *kernel), and normed as that. What is
    added to the attention is its value, since the token itself has other channels.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, split: Split, performer: bool):
        super().__init__()
        kernel = nd.ntuple(split.kernel_size, spatial_dims)
        self.norm1 = nn.LayerNorm((in_channels, *kernel), eps=EPS)
        self.proj = nd.CONV[spatial_dims](in_channels, 3 * dim, kernel, split.stride, bias=performer)
        self.attend = RandomFeatures(dim) if performer else Attend()
        # As published: keys before queries in the one, and in the other the scale of a picture's tokens before the map.
        self.keys_first = performer
        self.options = {} if performer else dict(scale=(in_channels * split.kernel_size**2) ** -0.5)
        self.out = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=EPS)
        self.mlp = Mlp(dim, ratio=1)
        self.dropout = nn.Dropout(DROPOUT if performer else 0.0)

    def forward(self, x: Tensor) -> Tensor:
        projected = self.project(x)  # (B, *S, 3 C)
        q, k, v = (part.unsqueeze(1) for part in projected.flatten(1, -2).chunk(3, dim=-1))  # one head
        q, k = (k, q) if self.keys_first else (q, k)
        x = (v + self.dropout(self.out(self.attend(q, k, v, **self.options)))).reshape(*projected.shape[:-1], -1)
        return x + self.dropout(self.mlp(self.norm2(x)))

    def project(self, x: Tensor) -> Tensor:
        """Norm and linear map of each window, which is a copy of whole rows of channels: the weights are turned."""
        windows = split_softly(x, self.proj.kernel_size, self.proj.stride).flatten(-x.ndim + 1)
        gain, bias = (tensor.movedim(0, -1).flatten() for tensor in (self.norm1.weight, self.norm1.bias))
        normed = F.layer_norm(windows, gain.shape, gain, bias, eps=self.norm1.eps)
        return F.linear(normed, self.proj.weight.movedim(1, -1).flatten(1), self.proj.bias)

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """Every token among all."""
        return [everywhere(nd.ceil_div(size, self.proj.stride))]


def split_softly(grid: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """(B, *S, C) -> (B, *(S / stride), *kernel, C): windows that overlap; S must divide by the stride.

    Beyond the borders are zeros; beyond the first and last slice of a volume are these slices again.
    """
    n, around = len(kernel), [(k - s + 1) // 2 for k, s in zip(kernel, stride, strict=True)]
    windows = F.pad(grid, [0, 0, *(p for pad in reversed(around[-2:]) for p in (pad, pad))])
    for axis, pad in enumerate(around[:-2], start=1):
        first, last = (windows.narrow(axis, i, 1) for i in (0, windows.shape[axis] - 1))
        windows = torch.cat([*[first] * pad, windows, *[last] * pad], dim=axis)
    for axis, (k, s) in enumerate(zip(kernel, stride, strict=True), start=1):
        windows = windows.unfold(axis, k, s)  # (B, *S, C, *kernel) in the end
    return windows.movedim(n + 1, -1)


class TokensToTokens(TokenStep):
    """The three steps, then positions and a class token: (B, *S, C_in) -> Tokens (B, 1 + N, C)."""

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        token_dim: int,
        performer: bool,
        position: nn.Module,
    ):
        first, second, third = SPLITS
        super().__init__(spatial_dims, in_channels, token_dim, split=first, performer=performer)
        self.second = TokenStep(spatial_dims, token_dim, token_dim, split=second, performer=performer)
        self.patches = PatchEmbed(spatial_dims, token_dim, dim, **third._asdict(), norm=False)
        self.position = position

    def forward(self, x: Tensor) -> Tokens:
        return self.position(self.patches(self.second(super().forward(nd.pad_to_multiple(x, PATCH)))))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """The same, of an image that is filled up to whole patches."""
        return super().places([PATCH * n for n in nd.ceil_div(size, PATCH)])
