"""CaiT: deep ViT with LayerScale, talking heads, and a class token that only comes last. https://arxiv.org/abs/2103.17239

The layers before the class token are a backbone on a grid, in 2D and 3D; its maps leave without a norm. Blocks of class
attention belong to the head of the classifier. cait_xs36, cait_s48 and cait_m24 are in the paper's table alone: they
have no published code, and their LayerScale begins by the paper's rule.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.attention import Attend, SelfAttention
from densevit.blocks.class_attention import ClassBlock
from densevit.blocks.head_mixing import in_strips, mix_heads
from densevit.blocks.position import make_positions
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, init_linear_weights, init_vit_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "cait_xxs24": dict(dim=192, depth=24, num_heads=4),
    "cait_xxs36": dict(dim=192, depth=36, num_heads=4),
    "cait_xs24": dict(dim=288, depth=24, num_heads=6),
    "cait_xs36": dict(dim=288, depth=36, num_heads=6, layer_scale=1e-6),
    "cait_s24": dict(dim=384, depth=24, num_heads=8),
    "cait_s36": dict(dim=384, depth=36, num_heads=8, layer_scale=1e-6),
    "cait_s48": dict(dim=384, depth=48, num_heads=8, layer_scale=1e-6),
    "cait_m24": dict(dim=768, depth=24, num_heads=16),
    "cait_m36": dict(dim=768, depth=36, num_heads=16, layer_scale=1e-6),
    "cait_m48": dict(dim=768, depth=48, num_heads=16, layer_scale=1e-6),
}
CLASS_DEPTH = 2


@BACKBONES.register(VARIANTS)
def cait(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int | Sequence[int] = 16,
    image_size: int | Sequence[int] | None = None,
    layer_scale: float = 1e-5,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of each quarter by default.
    `image_size` is that for which the table of positions is made (224 in 2D, 96 in 3D); others get it resized.
    `layer_scale` is where the factors of each branch begin. `drop_path` is the same for all blocks.
    """
    patch = nd.ntuple(patch_size, spatial_dims)
    grid = nd.table_grid(spatial_dims, image_size, patch)
    positions = make_positions("learned", dim, grid=grid, mode=nd.CUBIC_MODE[spatial_dims])
    embed = PatchEmbed(spatial_dims, in_channels, dim, kernel_size=patch, stride=patch, norm=False, position=positions)

    def make_block() -> nn.Module:
        attention = SelfAttention(dim, num_heads=num_heads, attend=TalkingHeads(num_heads))
        return Block(dim, attention, Mlp(dim), layer_scale=layer_scale, drop_path=drop_path)

    backbone = plain_backbone(
        embed,
        [make_block() for _ in range(depth)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=patch_size,
        taps=taps,
        class_head=partial(_class_head, dim, num_heads=num_heads, layer_scale=layer_scale),
    )
    return backbone.apply(init_vit_weights)


class TalkingHeads(Attend):
    """Heads mixed before and after the softmax: q (B, H, N, K), k (B, H, M, K), v (B, H, M, V) -> (B, H, N, V).

    https://arxiv.org/abs/2003.02436
    """

    def __init__(self, num_heads: int):
        super().__init__()
        self.proj_l = nn.Linear(num_heads, num_heads)
        self.proj_w = nn.Linear(num_heads, num_heads)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return in_strips(lambda q, k, v: self.weights(q, k) @ v, q, k, v)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, H, N, M): how much each query takes of each key's value in a mixed head; no row sums to 1."""
        logits = (q * q.shape[-1] ** -0.5) @ k.mT
        maps = mix_heads(logits, self.proj_l.weight, self.proj_l.bias).softmax(dim=-1)
        return mix_heads(maps, self.proj_w.weight, self.proj_w.bias)


class ClassAttentionHead(ClassHead):
    """A class token that comes after the backbone, goes through `blocks` with the cells, a norm and a linear layer.

    Each block maps (B, 1 + N, C) -> (B, 1 + N, C), the class token first.
    """

    def __init__(self, dim: int, num_classes: int, *, blocks: Sequence[nn.Module], eps: float = 1e-6):
        super().__init__()
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02))
        self.class_blocks = nn.ModuleList(blocks)
        self.norm_head = nn.LayerNorm(dim, eps=eps)
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return self.fc(self.norm_head(self.attended(features)[:, 0]))

    def attended(self, features: Features) -> Tensor:
        """What the blocks give, (B, 1 + N, C)."""
        cells = features.levels[-1].grid.flatten(1, -2)  # (B, N, C)
        tokens = torch.cat([self.cls_token.expand(len(cells), -1, -1), cells], dim=1)
        for block in self.class_blocks:
            tokens = block(tokens)
        return tokens


def _class_head(dim: int, num_classes: int, *, num_heads: int, layer_scale: float) -> nn.Module:
    blocks = [ClassBlock(dim, num_heads=num_heads, layer_scale=layer_scale) for _ in range(CLASS_DEPTH)]
    return ClassAttentionHead(dim, num_classes, blocks=blocks)
