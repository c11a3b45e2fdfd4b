"""CLIP's image encoder, the ViTs: a norm before the first block, QuickGELU. https://arxiv.org/abs/2103.00020

In 2D and 3D. As a classifier of as many classes as its embeddings are wide, it gives the embeddings of images.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import AttendToItself, SelfAttention
from densevit.blocks.position import LearnedPositions
from densevit.blocks.tokens import Tokens
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, init_linear_weights
from densevit.registry import BACKBONES

_BASE = dict(dim=768, depth=12, num_heads=12)
_LARGE = dict(dim=1024, depth=24, num_heads=16, patch_size=14)
VARIANTS = {
    "clip_vit_base_p32": dict(**_BASE, patch_size=32),
    "clip_vit_base_p16": dict(**_BASE, patch_size=16),
    "clip_vit_large_p14": _LARGE,
    "clip_vit_large_p14_336": dict(**_LARGE, image_size=336),
}
EPS = 1e-5


@BACKBONES.register(VARIANTS)
def clip_vit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int | Sequence[int],
    image_size: int | Sequence[int] | None = None,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
    quick_gelu: bool = True,
    dense: bool = False,
) -> Backbone:
    """Build one member of the family; see VARIANTS. `image_size`, `taps` and `norm` are those of `vit`.

    `quick_gelu` False: GELU, as in most models of open_clip. With `dense` no token of the last block looks at others:
    each keeps its own value, as in MaskCLIP (https://arxiv.org/abs/2112.01071).
    """
    patch = nd.ntuple(patch_size, spatial_dims)
    grid = nd.table_grid(spatial_dims, image_size, patch)
    position = NormedPositions(dim, grid=grid, num_tokens=1, mode=nd.CUBIC_MODE[spatial_dims])
    patches = dict(kernel_size=patch, stride=patch, bias=False, norm=False, position=position)

    def make_block(rate: float) -> nn.Module:
        attention, mlp = SelfAttention(dim, num_heads=num_heads), QuickMlp if quick_gelu else Mlp
        return Block(dim, attention, mlp(dim), drop_path=rate, eps=EPS)

    backbone = vit_backbone(
        PatchEmbed(spatial_dims, in_channels, dim, **patches),
        make_block,
        depth=depth,
        drop_path=drop_path,
        eps=EPS,
        spatial_dims=spatial_dims,
        taps=taps,
        norm=norm,
        class_head=partial(EmbeddingHead, dim),
    )
    if dense:
        backbone.stages[-1].blocks[-1].attn.attend = AttendToItself()
    return backbone


class NormedPositions(LearnedPositions):
    """Positions and a class token, then LayerNorm: (B, *S, C) -> Tokens (B, 1 + N, C)."""

    def __init__(self, dim: int, *, grid: Sequence[int], num_tokens: int, mode: str):
        super().__init__(dim, grid=grid, num_tokens=num_tokens, mode=mode)
        self.norm = nn.LayerNorm(dim, eps=EPS)

    def forward(self, x: Tensor) -> Tokens:
        tokens = super().forward(x)
        return tokens._replace(values=self.norm(tokens.values))


class QuickMlp(Mlp):
    """Linear, x * sigmoid(1.702 x), Linear: (B, *S, C) -> (B, *S, C)."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class EmbeddingHead(ClassHead):
    """A linear map of the class token, without bias."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(dim, num_classes, bias=False)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return self.fc(features.class_token)
