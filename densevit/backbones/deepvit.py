"""DeepViT: a deep ViT whose maps of attention are mixed over the heads and normed. https://arxiv.org/abs/2103.11886

In 2D and 3D. Batch norm stands within the attention, so that a model in training has other maps than in evaluation. Its
running statistics are of maps over as many tokens as the images of the training have, and a map over more tokens has
smaller values: train, or train on, at the size of use.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.attention import Attend, SelfAttention
from densevit.blocks.head_mixing import in_strips, mix_heads
from densevit.blocks.position import make_positions
from densevit.blocks.tokens import Tokens
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "deepvit_16b": dict(dim=384, depth=16),
    "deepvit_24b": dict(dim=384, depth=24),
    "deepvit_32b": dict(dim=384, depth=32),
    "deepvit_s": dict(dim=396, depth=16, num_mixed=5, small_maps=True, conv_stem=True),
    "deepvit_l": dict(dim=420, depth=32, num_mixed=12, conv_stem=True),
}
PATCH = 16
STEM_DIM = 64
EPS = 1e-6


@BACKBONES.register(VARIANTS)
def deepvit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int = 12,
    num_mixed: int | None = None,
    small_maps: bool = False,
    conv_stem: bool = False,
    image_size: int | Sequence[int] | None = None,
    num_tokens: int = 0,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    The last `num_mixed` blocks mix their heads, all of them by default; with `small_maps` the mixed maps are divided by
    the root of a head's channels. `conv_stem` puts two convolutions before the patches; the published blocks halve what
    comes in and double what they add, for which the stem's output is halved here: the levels before the last, which no
    norm passes, are half of theirs. `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of
    each quarter by default. `image_size` is that for which the table of positions is made (224 in 2D, 96 in 3D).
    `num_tokens=1` puts a class token before the patches.
    """
    grid = nd.table_grid(spatial_dims, image_size, PATCH)
    positions = make_positions("learned", dim, grid=grid, num_tokens=num_tokens, mode=nd.CUBIC_MODE[spatial_dims])
    patches = dict(kernel_size=PATCH, stride=PATCH, norm=False, position=positions)
    embed = PatchEmbed(spatial_dims, in_channels, dim, **patches)
    if conv_stem:
        embed = ConvStem(spatial_dims, in_channels, dim, position=positions)
    first = 0 if num_mixed is None else depth - num_mixed
    factor = (dim // num_heads) ** -0.5 if small_maps else 1.0

    def make_block(k: int, rate: float) -> nn.Module:
        attend = ReAttend(num_heads, factor=factor) if k >= first else None
        return Block(dim, SelfAttention(dim, num_heads=num_heads, attend=attend), Mlp(dim, ratio=3), drop_path=rate)

    backbone = plain_backbone(
        embed,
        [make_block(k, rate) for k, rate in enumerate(drop_path_rates(drop_path, [depth])[0])],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=PATCH,
        taps=taps,
        norm=nn.LayerNorm(dim, eps=EPS * ConvStem.FACTOR**2 if conv_stem else EPS),
    )
    return backbone.apply(init_linear_weights)


class ReAttend(Attend):
    """Maps mixed over heads, then batch norm of each: q (B, H, N, K), k (B, H, M, K), v (B, H, M, V) -> (B, H, N, V).

    In evaluation the norm is a part of the mixing, and costs nothing. Mixed maps are multiplied by `factor`.
    """

    def __init__(self, num_heads: int, *, factor: float = 1.0):
        super().__init__()
        self.factor = factor
        self.reatten_matrix = nn.Linear(num_heads, num_heads)
        self.var_norm = nn.BatchNorm1d(num_heads)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if self.training:  # all queries have a part in the statistics
            return self.weights(q, k) @ v
        return in_strips(lambda q, k, v: self.weights(q, k) @ v, q, k, v)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, H, N, M): how much each query takes of each key's value in a mixed head; no row sums to 1."""
        maps = ((q * q.shape[-1] ** -0.5) @ k.mT).softmax(dim=-1)
        mixing, norm = self.reatten_matrix, self.var_norm
        if self.training:
            mixed = norm(mix_heads(maps, mixing.weight, mixing.bias).flatten(2))
            return self.factor * mixed.view(maps.shape)
        gain = self.factor * norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = gain * (mixing.bias - norm.running_mean) + self.factor * norm.bias
        return mix_heads(maps, gain[:, None] * mixing.weight, bias)


class ConvStem(nn.Module):
    """Two convolutions at half of the resolution, then patches, halved: (B, *S, C_in) -> (B, *ceil(S / 16), C)."""

    FACTOR = 0.5

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, position: nn.Module):
        super().__init__()
        conv, norm = nd.CONV[spatial_dims], nd.BATCH_NORM[spatial_dims]
        self.proj = conv(in_channels, STEM_DIM, 7, stride=2, padding=3, bias=False)
        self.norm1 = norm(STEM_DIM)
        self.conv = conv(STEM_DIM, STEM_DIM, 3, padding=1, bias=False)
        self.norm2 = norm(STEM_DIM)
        self.patches = PatchEmbed(spatial_dims, STEM_DIM, dim, kernel_size=PATCH // 2, stride=PATCH // 2, norm=False)
        self.position = position

    def forward(self, x: Tensor) -> Tensor | Tokens:
        image = F.relu(self.norm1(self.proj(nd.to_image(nd.pad_to_multiple(x, PATCH)))))
        image = F.relu(self.norm2(self.conv(image)))
        x = self.position(self.patches(nd.to_grid(image)))
        return x._replace(values=self.FACTOR * x.values) if isinstance(x, Tokens) else self.FACTOR * x
