"""DINOv2: plain ViTs on patches of 14 pixels, trained without labels. https://arxiv.org/abs/2304.07193

Those of `dinov2_reg_...` have four registers (https://arxiv.org/abs/2309.16588). In 3D they are what weights of
pictures can fill: each slice of a volume that repeats one gets the tokens of the picture.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.plain import vit_backbone
from densevit.blocks import nd
from densevit.blocks.attention import SelfAttention
from densevit.blocks.position import make_positions
from densevit.blocks.rope import Relate
from densevit.blocks.tokens import CLASS
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, SwiGLU, init_linear_weights
from densevit.registry import BACKBONES

_SIZES = {
    "small": dict(dim=384, depth=12, num_heads=6),
    "base": dict(dim=768, depth=12, num_heads=12),
    "large": dict(dim=1024, depth=24, num_heads=16),
    "giant": dict(dim=1536, depth=40, num_heads=24, gated=True),
}
_REGISTERS = dict(num_registers=4, resizing="antialias")
VARIANTS = {f"dinov2_{size}": options for size, options in _SIZES.items()}
VARIANTS |= {f"dinov2_reg_{size}": {**options, **_REGISTERS} for size, options in _SIZES.items()}
IMAGE_SIZE = {2: 518, 3: nd.TABLE_SIZE[3]}


class ClassMeanHead(ClassHead):
    """DINO's linear classifier: a layer on the class token and the mean of the grid -> logits (B, num_classes).

    `class_tokens` are those of so many last blocks of `depth`: 1 or, in another release of DINOv2, 4.
    """

    def __init__(self, dim: int, num_classes: int, *, depth: int, class_tokens: int = 1):
        super().__init__()
        self.blocks = tuple(range(depth - class_tokens, depth))
        self.fc = nn.Linear((class_tokens + 1) * dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        found = [level.named(CLASS)[:, 0] for level in features.levels]
        return self.fc(torch.cat([*found, features.mean], dim=1))


@BACKBONES.register(VARIANTS)
def dinov2(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    gated: bool = False,
    patch_size: int | Sequence[int] = 14,
    image_size: int | Sequence[int] | None = None,
    resizing: str = "dino",
    num_registers: int = 0,
    class_tokens: int = 1,
    taps: Sequence[int] | None = None,
    norm: str = "last",
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `gated`: SwiGLU in place of GELU. `image_size` is that of the table of positions, 518 in 2D and 96 in 3D; `resizing`
    fits it to others: "dino", as the authors do by a factor of (n + 0.1) / N, "antialias", as they do where there are
    registers, or "size", as transformers does. `class_tokens` are those that the classifier reads, of so many last
    blocks, 1 or 4; the latter needs norm="all". `taps` and `norm` are those of `vit`. In 3D the tokens before the grid
    count once for each slice.
    """
    if class_tokens > 1 and norm != "all":
        raise ValueError(f"class_tokens={class_tokens} reads several levels and needs norm='all', got norm={norm!r}")
    patch = nd.ntuple(patch_size, spatial_dims)
    grid = nd.ceil_div(nd.ntuple(IMAGE_SIZE[spatial_dims] if image_size is None else image_size, spatial_dims), patch)
    before = dict(num_tokens=1, num_registers=num_registers)
    position = make_positions("learned", dim, grid=grid, mode=nd.CUBIC_MODE[spatial_dims], resizing=resizing, **before)
    options = dict(kernel_size=patch, stride=patch, norm=False, position=position, relate=Relate(counted=True))

    def make_block(rate: float) -> nn.Module:
        ffn = SwiGLU(dim) if gated else Mlp(dim)
        return Block(dim, SelfAttention(dim, num_heads=num_heads), ffn, drop_path=rate, layer_scale=1e-5)

    return vit_backbone(
        PatchEmbed(spatial_dims, in_channels, dim, **options),
        make_block,
        depth=depth,
        drop_path=drop_path,
        eps=1e-6,
        spatial_dims=spatial_dims,
        taps=taps,
        norm=norm,
        class_head=partial(ClassMeanHead, dim, depth=depth, class_tokens=class_tokens),
    )
