"""VT-ResNet: visual tokens in place of ResNet's last stage. https://arxiv.org/abs/2006.03677

Blocks of visual tokens stand on the map of the stage before, of stride 16, and do not halve it: 16 tokens of 1024
channels are made of the whole map, attend to each other, and give back to every pixel. The first block has learned
filters, each later one makes its own of the tokens before. In 2D and 3D, at any size.

No code of the authors is public, and what they leave open is chosen by their counts. The width of tokens is what
readers of the first text quote (https://github.com/tahmid0007/VisualTransformers/issues/4); by the equations of the
second one it might be the map's, with which R18 has only 4.0 million parameters. With 1024 the equations as they stand
have more than published (R18 13.6 million, R50 30.6), so linear maps between channels of the map and of tokens have 16
groups here, as convolutions of the first text have: of the readings that we counted, the plain one that comes nearest
to all variants. It is no fact: classifiers have 12.3, 21.9, 22.7 and 41.7 million parameters, where 11.6, 21.8 (in
another table 19.2), 21.4 and 41.5 are published, and 1545, 3235, 3522 and 7235 million multiply-accumulates at 224
pixels, where 1579, 3299, 3412 and 7129 are.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features, Stage
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.resnet import resnet_stages
from densevit.blocks.tokens import Tokens, VisualTokens, as_grid, as_tokens
from densevit.blocks.transformer import init_linear_weights
from densevit.blocks.visual_tokens import FilterTokenizer, Projector, RecurrentTokenizer, TokenTransformer
from densevit.registry import BACKBONES

VARIANTS = {
    "vt_resnet18": dict(depths=(2, 2, 2, 2)),
    "vt_resnet34": dict(depths=(3, 4, 6, 3)),
    "vt_resnet50": dict(depths=(3, 4, 6, 3), bottleneck=True),
    "vt_resnet101": dict(depths=(3, 4, 23, 3), bottleneck=True),
}


@BACKBONES.register(VARIANTS)
def vt_resnet(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int = 64,
    depths: Sequence[int],
    bottleneck: bool = False,
    num_tokens: int = 16,
    token_dim: int = 1024,
    groups: int = 16,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS. The last of `depths` counts the blocks of visual tokens.

    `dim` and `bottleneck` are those of `resnet`, `drop_path` is of its convolutions alone. `groups` must divide
    `token_dim` and the width of the map that tokens are made of; 1 gives the equations of the paper as they stand.
    """
    stages, widths = resnet_stages(
        spatial_dims, in_channels, dim=dim, depths=depths[:-1], bottleneck=bottleneck, drop_path=drop_path
    )
    width, common = widths[-1], dict(token_dim=token_dim, groups=groups)
    blocks = [
        VisualTokenBlock(
            RecurrentTokenizer(spatial_dims, width, **common)
            if i
            else FilterTokenizer(spatial_dims, width, num_tokens=num_tokens, **common),
            TokenTransformer(token_dim=token_dim),
            Projector(width, **common),
        )
        for i in range(depths[-1])
    ]
    strides = [4 * 2**i for i in range(len(widths))]
    return Backbone(
        [*stages, Stage(nn.Identity(), blocks)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=[*widths, width],
        out_strides=[*strides, strides[-1]],
        class_head=lambda num_classes: VisualTokenHead(token_dim, num_classes),
    )


class VisualTokenBlock(nn.Module):
    """Visual tokens of a grid, attention among them, and back: (B, *S, C) or Tokens -> Tokens that hold them.

    `tokenizer` is a `FilterTokenizer` in the first block and a `RecurrentTokenizer` in those that follow. Without a
    `projector` the grid stays as it is, where nothing reads it afterwards.
    """

    def __init__(self, tokenizer: nn.Module, transformer: nn.Module, projector: nn.Module | None):
        super().__init__()
        self.tokenizer, self.transformer, self.projector = tokenizer, transformer, projector

    def forward(self, x: Tensor | Tokens) -> Tokens:
        grid = as_grid(x)
        made = self.tokenizer(grid, x.visual) if isinstance(x, Tokens) else self.tokenizer(grid)
        values = self.transformer(made.values)
        if self.projector is not None:
            grid = self.projector(grid, values)
        return as_tokens(grid)._replace(visual=VisualTokens(values, made.maps))


class VisualTokenHead(ClassHead):
    """A linear layer on the mean of the visual tokens; what they give back to the map is not read."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return self.fc(features.levels[-1].visual.values.mean(1))

    def leave_out(self, backbone: Backbone) -> None:
        super().leave_out(backbone)
        backbone.stages[-1].blocks[-1].projector = None
