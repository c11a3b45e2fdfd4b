"""Heads that classify a whole image from what its backbone gives: Features -> logits (B, num_classes)."""

from collections.abc import Sequence

from torch import Tensor, nn

from densevit.backbones.base import Features


class ClassHead(nn.Module):
    """What every head is: Features -> logits (B, num_classes)."""

    blocks: Sequence[int] | None = None  # whose outputs it reads, counted through all stages; None: the ends of stages
    norm = True  # whether these have passed the norms that levels pass

    def forward(self, features: Features) -> Tensor:
        raise NotImplementedError


class PooledHead(ClassHead):
    """A linear layer on the class token, or on the mean of the grid where there is none."""

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(dim, num_classes)

    def forward(self, features: Features) -> Tensor:
        return self.fc(features.pooled)
