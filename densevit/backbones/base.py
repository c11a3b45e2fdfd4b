"""What every backbone is: a list of stages, each a downsampling followed by blocks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from densevit.blocks import nd


class Stage(nn.Module):
    """Downsampling, blocks, norm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    What flows between stages may also be tokens (B, N, C), with a class token or others before those of the grid.
    """

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module | None = None):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.Identity() if norm is None else norm
        self.checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.downsample(x)
        recompute = self.checkpointing and self.training and torch.is_grad_enabled()
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if recompute else block(x)
        return self.norm(x)


class Backbone(nn.Module):
    """Encoder made of stages: (B, C, *S) -> [(B, C_i, *ceil(S / stride_i)) for each stage], fine to coarse.

    A stride is one number, or one per spatial dimension where they differ. `out_norms` are applied to what leaves a
    stage as a feature, not to what enters the next one (Swin, ViT).
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        *,
        spatial_dims: int,
        in_channels: int,
        out_channels: Sequence[int],
        out_strides: Sequence[int | tuple[int, ...]],
        out_norms: Sequence[nn.Module] | None = None,
    ):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.out_norms = nn.ModuleList([nn.Identity() for _ in stages] if out_norms is None else out_norms)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = tuple(out_channels)
        self.out_strides = tuple(out_strides)
        self.num_frozen = 0

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected (B, {self.in_channels}, *S) with {self.spatial_dims} spatial dimensions, "
                f"got shape {tuple(x.shape)}; set in_channels and spatial_dims when the model is made"
            )
        features, image_size = [], x.shape[2:]
        x = nd.to_grid(x).contiguous()  # channels last from the first convolution on
        for stage, norm, stride in zip(self.stages, self.out_norms, self.out_strides, strict=True):
            x = stage(x)
            features.append(nd.to_image(nd.as_grid(norm(x), nd.ceil_div(image_size, stride))))
        return features

    def set_checkpointing(self, enabled: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        for stage in self.stages:
            stage.checkpointing = enabled

    def freeze(self, num_stages: int) -> None:
        """Keep the first `num_stages` stages as they are: no gradients, and always in eval mode."""
        if not 0 <= num_stages <= len(self.stages):
            raise ValueError(f"frozen must be 0 to {len(self.stages)} stages, got {num_stages}")
        self.num_frozen = num_stages
        for i, (stage, norm) in enumerate(zip(self.stages, self.out_norms, strict=True)):
            stage.requires_grad_(i >= num_stages)
            norm.requires_grad_(i >= num_stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        for module in (*self.stages[: self.num_frozen], *self.out_norms[: self.num_frozen]):
            module.eval()
        return self
