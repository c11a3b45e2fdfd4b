"""Averages of weights over a run."""

from copy import deepcopy

import torch
from torch import nn


class WeightAverage:
    """Exponential moving average of a model's weights; buffers follow as they are.

    The decay grows as (1 + n) / (10 + n) until it reaches `decay`, so that the random start is soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the weights after one more iteration."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(list(self.model.parameters()), [p.detach() for p in model.parameters()], 1 - decay)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
