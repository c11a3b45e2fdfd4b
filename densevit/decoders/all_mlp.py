"""All-MLP decoder (SegFormer): project each level, resize to the finest, fuse. https://arxiv.org/abs/2105.15203

Upsampling commutes with a linear map over channels, and its weights sum to 1, so
    fuse(concat_i(up(project_i(x_i)))) = sum_i up(fuse_i(project_i(x_i)))
where fuse_i is the slice of fuse for level i. Two consequences, both exact up to rounding, in training too:
the fusion runs at each level's own resolution instead of on all levels' channels at the finest one, and
fuse_i after project_i is a single matrix.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.init import init_vit_weights
from densevit.registry import DECODERS


@DECODERS.register({"all_mlp": {}})
class AllMLPDecoder(nn.Module):
    """[(B, C_i, *S_i)] fine to coarse -> (B, dim, *S_0).

    `project_norm` is mmsegmentation's form: batch norm and ReLU after each projection, which then has no bias.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        dim: int = 256,
        dropout: float = 0.1,
        project_norm: bool = False,
    ):
        super().__init__()
        norm = nd.BATCH_NORM[spatial_dims]
        self.out_channels, self.out_stride = dim, in_strides[0]
        self.project = nn.ModuleList(nn.Linear(c, dim, bias=not project_norm) for c in in_channels)
        self.project_norms = nn.ModuleList(norm(dim) for _ in in_channels) if project_norm else None
        # Columns of fuse: coarsest level first, the order of the published checkpoints.
        self.fuse = nn.Linear(dim * len(in_channels), dim, bias=False)
        self.norm = norm(dim)
        self.dropout = nd.CHANNEL_DROPOUT[spatial_dims](dropout)
        self.apply(init_vit_weights)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = features[0].shape[2:]
        levels = self._fused_levels([nd.to_grid(f) for f in features])  # [(B, *S_i, dim)]
        fused = nd.to_image(levels[0])
        for level in levels[1:]:
            fused = fused + nd.resize(nd.to_image(level), size)
        return self.dropout(F.relu(self.norm(fused)))

    def _fused_levels(self, grids: Sequence[Tensor]) -> list[Tensor]:
        """[(B, *S_i, C_i)] -> [(B, *S_i, dim)], whose upsampled sum is the fused map before its norm."""
        slices = self.fuse.weight.chunk(len(grids), dim=1)[::-1]  # (dim, dim) each, fine to coarse
        if self.project_norms is not None:
            projected = [
                nd.to_grid(F.relu(norm(nd.to_image(project(grid)))))
                for project, norm, grid in zip(self.project, self.project_norms, grids, strict=True)
            ]
            return [F.linear(grid, weight) for grid, weight in zip(projected, slices, strict=True)]
        return [
            F.linear(grid, weight @ project.weight, weight @ project.bias)
            for grid, weight, project in zip(grids, slices, self.project, strict=True)
        ]
