"""VT-FPN: visual tokens in place of a feature pyramid's convolutions. https://arxiv.org/abs/2006.03677"""

from collections.abc import Sequence
from functools import partial
from math import gcd

from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.pyramid import SemanticBranch, top_down
from densevit.blocks.visual_tokens import (
    FORMS,
    FilterTokenizer,
    Projector,
    RecurrentTokenizer,
    TokenTransformer,
    VisualTokens,
    VisualTransformer,
)
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS

OUT_CHANNELS = 128


@DECODERS.register({"vt_fpn": {}})
class VTFPNDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, 128, *S_0).

    Laterals of `dim` channels are added from coarse to fine, as in the FPN; then, in place of its convolutions, each
    level gives `num_tokens` tokens, one transformer joins those of all levels, and each level gets its own back.
    The semantic branch sums the levels.

    `token_dim` is by default half the coarsest level's width, which is the published 1024 on ResNet-50 (2048).
    `depth` rounds are made; from the second on, a level's tokenizer starts from its tokens of the round before.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        dim: int = 256,
        num_tokens: int = 8,
        token_dim: int | None = None,
        depth: int = 1,
        form: str = "iccv",
        position: bool = False,
        dropout: float = 0.1,
    ):
        widths = (OUT_CHANNELS, *[dim] * (len(in_channels) - 1))
        super().__init__(spatial_dims=spatial_dims, level_channels=widths, level_strides=in_strides)
        token_dim = max(in_channels[-1] // 2, 2) if token_dim is None else token_dim
        check_sizes(dim=dim, num_tokens=num_tokens, token_dim=token_dim, depth=depth)
        if form not in FORMS:
            raise ValueError(f"form must be {' or '.join(map(repr, FORMS))}, got {form!r}")
        levels = range(len(in_channels))
        common = dict(token_dim=token_dim, form=form, num_heads=gcd(16, dim, max(token_dim // 2, 1)))
        first = partial(FilterTokenizer, spatial_dims, dim, num_tokens=num_tokens, position=position, **common)
        later = partial(RecurrentTokenizer, spatial_dims, dim, position=position, **common)
        self.lateral_convs = nn.ModuleList(nd.CONV[spatial_dims](c, dim, 1) for c in in_channels)
        self.rounds = nn.ModuleList(
            VisualTransformer(
                [first() if i == 0 else later() for _ in levels],
                TokenTransformer(**common),
                [Projector(dim, **common) for _ in levels],
            )
            for i in range(depth)
        )
        self.branch = SemanticBranch(spatial_dims, dim, in_strides=in_strides, out_channels=OUT_CHANNELS)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        for lateral in self.lateral_convs:
            nn.init.xavier_uniform_(lateral.weight)
            nn.init.zeros_(lateral.bias)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The sum of the levels (B, 128, *S_0), then the pyramid's coarser levels (B, dim, *S_i)."""
        pyramid, _ = self.forward_tokens(features)
        return [DenseMap(self.dropout(self.branch(pyramid))), *map(DenseMap, pyramid[1:])]

    def forward_tokens(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[VisualTokens]]:
        """The pyramid [(B, dim, *S_i)] after the last round, and each level's tokens, before the semantic branch."""
        grids, tokens = [nd.to_grid(x) for x in top_down(self.lateral_convs, features)], None
        for visual_transformer in self.rounds:
            grids, tokens = visual_transformer(grids, tokens)
        return [nd.to_image(x) for x in grids], tokens

    def token_maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Where each level's tokens looked: [(B, num_tokens, *S_i)], each map a softmax over its pixels.

        Heads are averaged; a token that the form "arxiv" kept from an earlier round keeps the map of that round.
        """
        return [tokens.maps for tokens in self.forward_tokens(features)[1]]
