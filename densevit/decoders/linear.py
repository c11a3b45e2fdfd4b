"""Linear probe: the backbone's maps, normalised, with nothing learned before the classifier.

The protocol of frozen features, as in https://arxiv.org/abs/2304.07193
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.blocks.pyramid import normed
from densevit.decoders.base import Decoder, DenseMap, Stride
from densevit.registry import DECODERS

LEVELS = ("all", "last")


@DECODERS.register({"linear": {}})
class LinearDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, sum of C_i, *S_0), or the last level alone at its own size.

    `levels="last"` suits a plain ViT. The norm has no scale and shift of its own: the classifier has them.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        levels: Literal["all", "last"] = "all",
    ):
        if levels not in LEVELS:
            raise ValueError(f"levels must be 'all' or 'last', got {levels!r}")
        first = 0 if levels == "all" else len(in_channels) - 1
        channels, stride = tuple(in_channels[first:]), in_strides[first]
        super().__init__(spatial_dims=spatial_dims, level_channels=[sum(channels)], level_strides=[stride])
        self.first, self.channels = first, channels
        self.norm = nd.BATCH_NORM[spatial_dims](self.out_channels, affine=False)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The normalised maps side by side (B, sum of C_i, *S_0) alone."""
        features = list(features[self.first :])
        if not self.norm.training:  # then it commutes with resizing, and is cheaper on the small maps
            features = self._normed(features)
        x = torch.cat([nd.resize(feature, features[0].shape[2:]) for feature in features], dim=1)
        return [DenseMap(normed(x, self.norm) if self.norm.training else x)]

    def _normed(self, features: Sequence[Tensor]) -> list[Tensor]:
        means, variances = (t.split(self.channels) for t in (self.norm.running_mean, self.norm.running_var))
        return [
            F.batch_norm(x, mean, variance, eps=self.norm.eps)
            for x, mean, variance in zip(features, means, variances, strict=True)
        ]
