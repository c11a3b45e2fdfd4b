"""All-MLP decoder (SegFormer): project each level, resize to the finest, fuse. https://arxiv.org/abs/2105.15203

Upsampling commutes with a linear map over channels, and its weights sum to 1, so
    fuse(concat_i(up(project_i(x_i)))) = sum_i up(fuse_i(project_i(x_i)))
where fuse_i is the slice of fuse for level i. Two consequences, both exact up to rounding, in training too:
the fusion runs at each level's own resolution instead of on all levels' channels at the finest one, and
fuse_i after project_i is a single matrix. In eval mode the batch norm after the sum is in that matrix as well.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.pyramid import upsampled_sum
from densevit.blocks.transformer import init_vit_weights
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS


@DECODERS.register({"all_mlp": {}})
class AllMLPDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, dim, *S_0).

    `project_norm` is mmsegmentation's form: batch norm and ReLU after each projection, which then has no bias.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        dim: int = 256,
        dropout: float = 0.1,
        project_norm: bool = False,
    ):
        check_sizes(dim=dim)
        super().__init__(spatial_dims=spatial_dims, level_channels=[dim], level_strides=in_strides[:1])
        norm = nd.BATCH_NORM[spatial_dims]
        self.project = nn.ModuleList(nn.Linear(c, dim, bias=not project_norm) for c in in_channels)
        self.project_norms = nn.ModuleList(norm(dim) for _ in in_channels) if project_norm else None
        # Columns of fuse: coarsest level first, the order of the published checkpoints.
        self.fuse = nn.Linear(dim * len(in_channels), dim, bias=False)
        self.norm = norm(dim)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        self.apply(init_vit_weights)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The fused map (B, dim, *S_0) alone."""
        device = self.fuse.weight.device.type
        # Products of weights in full precision: rounding them to 16 bits would add up. The meta device has no autocast.
        with torch.autocast("cpu" if device == "meta" else device, enabled=False):
            weights, biases = self._folded_weights()
        grids = self._normed_projections(features) if self.project_norms is not None else map(nd.to_grid, features)
        levels = [F.linear(g, w, b) for g, w, b in zip(grids, weights, biases, strict=True)]  # [(B, *S_i, dim)]
        fused = nd.to_image(upsampled_sum(levels))
        fused = F.relu(self.norm(fused) if self.norm.training else fused, inplace=True)
        return [DenseMap(self.dropout(fused))]

    def _folded_weights(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """One matrix (dim, C_i) a level and its bias; a norm in eval mode is a scale and a shift, so it is in there."""
        slices = list(self.fuse.weight.chunk(len(self.project), dim=1)[::-1])  # (dim, dim) each, fine to coarse
        biases: list[Tensor | None] = [None] * len(slices)
        if not self.norm.training:
            scale = self.norm.weight * torch.rsqrt(self.norm.running_var + self.norm.eps)
            slices = [scale[:, None] * weight for weight in slices]
            biases[0] = self.norm.bias - self.norm.running_mean * scale
        if self.project_norms is not None:
            return slices, biases
        constant = sum(weight @ project.bias for weight, project in zip(slices, self.project, strict=True))
        biases[0] = constant if biases[0] is None else constant + biases[0]
        return [weight @ project.weight for weight, project in zip(slices, self.project, strict=True)], biases

    def _normed_projections(self, features: Sequence[Tensor]) -> list[Tensor]:
        """[(B, C_i, *S_i)] -> [(B, *S_i, dim)]: the form in which something stands between projection and fusion."""
        return [
            nd.to_grid(F.relu(norm(nd.to_image(project(nd.to_grid(feature))))))
            for feature, project, norm in zip(features, self.project, self.project_norms, strict=True)
        ]
