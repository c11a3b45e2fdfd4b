"""What every backbone is: a list of stages, each a downsampling followed by blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from densevit.backbones.necks import Neck
from densevit.blocks import nd
from densevit.blocks.tokens import CLASS, DISTILLATION, REGISTER, Tokens, as_grid, as_tokens


class Stage(nn.Module):
    """Downsampling, blocks, norm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    What flows between blocks and stages is a grid, or Tokens where a class token or others stand before the grid.
    """

    def __init__(self, downsample: nn.Module, blocks: Sequence[nn.Module], norm: nn.Module | None = None):
        super().__init__()
        self.downsample = downsample
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.Identity() if norm is None else norm
        self.checkpointing = False

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        x = self.downsample(x)
        for block in self.blocks:
            x = self.run(block, x)
        return self.norm(x)

    def run(self, block: nn.Module, x: Tensor | Tokens) -> Tensor | Tokens:
        """What the block makes of (B, *S, C), recomputed in the backward pass where that is asked for."""
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return checkpoint(block, x, use_reentrant=False)
        return block(x)


@dataclass(frozen=True)
class Features:
    """All that a backbone computes of an image: Tokens (B, T + N, C_i) of each level, fine to coarse.

    The properties read the last level, whose tokens have seen the most.
    """

    levels: tuple[Tokens, ...]

    @property
    def maps(self) -> list[Tensor]:
        """The levels as images, [(B, C_i, *S_i)]: what the backbone's forward returns."""
        return [nd.to_image(level.grid) for level in self.levels]

    @property
    def class_token(self) -> Tensor | None:
        """(B, C), the mean where each frame has its own (TimeSformer); None where the backbone has none."""
        found = self.levels[-1].named(CLASS)
        return None if found is None else found.mean(1)

    @property
    def distillation_token(self) -> Tensor | None:
        """(B, C), or None where the backbone has none."""
        found = self.levels[-1].named(DISTILLATION)
        return None if found is None else found[:, 0]

    @property
    def registers(self) -> Tensor | None:
        """(B, R, C), or None where the backbone has none."""
        return self.levels[-1].named(REGISTER)

    @property
    def mean(self) -> Tensor:
        """The mean of the grid, (B, C)."""
        return self.levels[-1].grid.flatten(1, -2).mean(1)

    @property
    def pooled(self) -> Tensor:
        """One vector an image, (B, C): the class token, or without one the mean of the grid."""
        return self.mean if self.class_token is None else self.class_token


class Backbone(nn.Module):
    """Encoder made of stages: (B, C, *S) -> [(B, C_i, *ceil(S / stride_i)) for each stage], fine to coarse.

    A stride is one number, or one per spatial dimension where they differ. `out_norms` are applied to what leaves a
    stage as a feature, not to what enters the next one (Swin, ViT). `class_head` makes the head with which the family
    was published for classification, `num_classes -> ClassHead`; a linear layer on the pooled features by default.
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
        class_head: Callable[[int], nn.Module] | None = None,
    ):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.out_norms = nn.ModuleList([nn.Identity() for _ in stages] if out_norms is None else out_norms)
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = tuple(out_channels)
        self.out_strides = tuple(out_strides)
        self.class_head = class_head
        self.num_frozen = 0
        self.neck: Neck | None = None
        self.stage_channels = self.out_channels  # a neck changes what leaves

    def forward(self, x: Tensor) -> list[Tensor]:
        size, x, maps = x.shape[2:], self._enter(x), []
        for stage, norm in zip(self.stages, self.out_norms, strict=True):
            x = stage(x)
            normed = x._replace(values=norm(x.values)) if isinstance(x, Tokens) else norm(x)
            maps.append(nd.to_image(as_grid(normed)))
        return maps if self.neck is None else self.neck(maps, size)

    def attach(self, neck: Neck) -> None:
        """Let maps go through a neck before they leave."""
        self.neck = neck
        self.out_channels, self.out_strides = neck.out_channels, neck.out_strides

    def features(self, x: Tensor, *, blocks: Sequence[int] | None = None, norm: bool = True) -> Features:
        """Image (B, C, *S) -> class and register tokens, a pooled vector, and the maps of the chosen blocks.

        `blocks` are counted from 0 through all stages; those at the end of each stage by default, whose maps are what
        `forward` gives, or hands to its neck. With `norm`, each passes the norms that the output of its stage passes.
        """
        total = sum(len(stage.blocks) for stage in self.stages)
        wanted = None if blocks is None else set(blocks)
        if wanted is not None and (not wanted or not wanted <= set(range(total))):
            raise ValueError(f"blocks must be some of 0 to {total - 1}, got {sorted(wanted)}")
        x, levels, count = self._enter(x), [], 0
        for i, stage in enumerate(self.stages):
            x = stage.downsample(x)
            for block in stage.blocks:
                x = stage.run(block, x)
                if wanted is not None and count in wanted:
                    levels.append(self._level(i, x, norm=norm))
                count += 1
            if wanted is None:
                levels.append(self._level(i, x, norm=norm))
            x = stage.norm(x)
        return Features(tuple(levels))

    def _enter(self, x: Tensor) -> Tensor:
        """The image as a grid, channels last from the first convolution on."""
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected (B, {self.in_channels}, *S) with {self.spatial_dims} spatial dimensions, "
                f"got shape {tuple(x.shape)}; set in_channels and spatial_dims when the model is made"
            )
        return nd.to_grid(x).contiguous()

    def _level(self, i: int, x: Tensor | Tokens, *, norm: bool) -> Tokens:
        tokens = as_tokens(x)
        if not norm:
            return tokens
        width = tokens.values.shape[-1]
        if width != self.stage_channels[i]:
            raise ValueError(
                f"a block of stage {i} gives {width} channels and the norm of its end takes {self.stage_channels[i]}; "
                "choose the last block of the stage, or norm=False"
            )
        return tokens._replace(values=self.out_norms[i](self.stages[i].norm(tokens.values)))

    def set_checkpointing(self, enabled: bool = True) -> None:
        """Recompute each block in the backward pass instead of keeping its activations."""
        for module in self.stages.modules():  # stages of convolutions stand before those of a hybrid ViT's blocks
            if isinstance(module, Stage):
                module.checkpointing = enabled

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
