"""Semantic FPN: a feature pyramid, and a branch of convolutions that sums its levels. https://arxiv.org/abs/1901.02446"""

from collections.abc import Sequence

from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.pyramid import SemanticBranch, top_down
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS


@DECODERS.register({"fpn": {}})
class FPNDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, head_dim, *S_0).

    Laterals of `dim` channels are added from coarse to fine; the semantic branch of `head_dim` sums the levels.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        dim: int = 256,
        head_dim: int = 128,
        dropout: float = 0.1,
    ):
        check_sizes(dim=dim, head_dim=head_dim)
        widths = (head_dim, *[dim] * (len(in_channels) - 1))
        super().__init__(spatial_dims=spatial_dims, level_channels=widths, level_strides=in_strides)
        conv = nd.CONV[spatial_dims]
        self.lateral_convs = nn.ModuleList(conv(c, dim, 1) for c in in_channels)
        self.fpn_convs = nn.ModuleList(conv(dim, dim, 3, padding=1) for _ in in_channels)
        self.branch = SemanticBranch(spatial_dims, dim, in_strides=in_strides, out_channels=head_dim)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        for module in (*self.lateral_convs, *self.fpn_convs):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The sum of the levels (B, head_dim, *S_0), then the pyramid's coarser levels (B, dim, *S_i)."""
        summed = top_down(self.lateral_convs, features)
        pyramid = [conv(x) for conv, x in zip(self.fpn_convs, summed, strict=True)]
        return [DenseMap(self.dropout(self.branch(pyramid))), *map(DenseMap, pyramid[1:])]
