"""CeiT: a ViT with convolutions before its patches and between its cells. https://arxiv.org/abs/2103.11816

In 2D and 3D, at any size. A class token goes through all blocks; the classifier reads it after each of them. Maps leave
without a norm.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.plain import plain_backbone
from densevit.backbones.resnet import PooledStem
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.class_attention import ClassBlock
from densevit.blocks.position import make_positions
from densevit.blocks.tokens import CLASS, Tokens
from densevit.blocks.transformer import Block, PatchEmbed, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "ceit_tiny": dict(dim=192, num_heads=3),
    "ceit_small": dict(dim=384, num_heads=6),
    "ceit_base": dict(dim=768, num_heads=12),
}
PATCH = 16
STEM_DIM = 64


@BACKBONES.register(VARIANTS)
def ceit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    num_heads: int,
    depth: int = 12,
    image_size: int | Sequence[int] | None = None,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of each quarter by default.
    `image_size` is that for which the table of positions is made (224 in 2D, 96 in 3D); others get it resized.
    """
    grid = nd.table_grid(spatial_dims, image_size, PATCH)
    positions = make_positions("learned", dim, grid=grid, num_tokens=1, mode=nd.CUBIC_MODE[spatial_dims])

    def make_block(rate: float) -> nn.Module:
        ffn = LocallyEnhanced(spatial_dims, dim)
        return CeiTBlock(dim, SelfAttention(dim, num_heads=num_heads), ffn, drop_path=rate)

    backbone = plain_backbone(
        ImageToTokens(spatial_dims, in_channels, dim, position=positions),
        [make_block(rate) for rate in drop_path_rates(drop_path, [depth])[0]],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=PATCH,
        taps=taps,
        class_head=partial(LayerwiseHead, dim, num_heads=num_heads, depth=depth),
    )
    return backbone.apply(init_linear_weights)


class ImageToTokens(PooledStem):
    """ResNet's stem without its activation, then patches of 4: (B, *S, C_in) -> Tokens (B, 1 + N, C)."""

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, position: nn.Module):
        super().__init__(spatial_dims, in_channels, STEM_DIM, activation=False)
        self.patches = PatchEmbed(spatial_dims, STEM_DIM, dim, kernel_size=4, stride=4, norm=False)
        self.position = position

    def forward(self, x: Tensor) -> Tokens:
        return self.position(self.patches(super().forward(nd.pad_to_multiple(x, PATCH))))


class LocallyEnhanced(nn.Module):
    """A feed-forward net with a 3 x 3 (x 3) depthwise convolution, batch norm after each: (B, *S, C) -> (B, *S, C)."""

    def __init__(self, spatial_dims: int, dim: int, *, ratio: float = 4.0):
        super().__init__()
        hidden, norm = int(dim * ratio), nd.BATCH_NORM[spatial_dims]
        self.fc1 = nn.Linear(dim, hidden)
        self.norm1 = norm(hidden)
        self.dwconv = nd.CONV[spatial_dims](hidden, hidden, 3, padding=1, groups=hidden)
        self.norm2 = norm(hidden)
        self.fc2 = nn.Linear(hidden, dim)
        self.norm3 = norm(dim)

    def forward(self, x: Tensor) -> Tensor:
        image = F.gelu(self.norm1(nd.to_image(self.fc1(x))))
        image = F.gelu(self.norm2(self.dwconv(image)))
        return nd.to_grid(self.norm3(nd.to_image(self.fc2(nd.to_grid(image)))))


class CeiTBlock(Block):
    """Attention of all tokens, then the net on the grid: Tokens (B, 1 + N, C) -> Tokens (B, 1 + N, C).

    As published, the class token passes the second branch with its norm alone, which is added to it.
    """

    def forward(self, x: Tokens) -> Tokens:
        x = x._replace(values=x.values + self.drop_path(self.attn(self.norm1(x.values))))
        normed = x._replace(values=self.norm2(x.values))
        return x._replace(values=x.values + self.drop_path(normed.map_grid(self.mlp).values))


class LayerwiseHead(ClassHead):
    """The class token of the last block attends to those of all blocks, then an Mlp, a norm and a linear layer."""

    norm = False

    def __init__(self, dim: int, num_classes: int, *, num_heads: int, depth: int):
        super().__init__()
        self.blocks = tuple(range(depth))
        self.pos_layer_embed = nn.Parameter(torch.zeros(1, depth, dim))
        self.block = ClassBlock(dim, num_heads=num_heads)
        self.last_norm = nn.LayerNorm(dim, eps=1e-6)
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        tokens = torch.cat([level.named(CLASS) for level in features.levels], dim=1) + self.pos_layer_embed
        last_first = torch.cat([tokens[:, -1:], tokens[:, :-1]], dim=1)  # (B, depth, C)
        return self.fc(self.last_norm(self.block(last_first)[:, 0]))
