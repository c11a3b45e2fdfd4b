"""The model as mmengine trains it: batch in, named losses out; and the moving average of its weights."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn

from densevit.decoders import DenseMap
from densevit.train.auxiliary import Supervision


class TrainingModel(BaseModel):
    """A segmentor and its loss: dict(image (B, C, *S), label (B, *S)) -> named losses, or logits (B, K, *S).

    `supervision` holds what training adds to the segmentor; predictions never run it.
    """

    def __init__(self, segmentor: nn.Module, loss: nn.Module, supervision: Supervision | None = None):
        super().__init__(BaseDataPreprocessor(non_blocking=True))
        self.segmentor = segmentor
        self.loss = loss
        self.supervision = supervision

    def forward(
        self, image: Tensor, label: Tensor | None = None, meta: Any = None, *, mode: Literal["loss", "predict"] = "loss"
    ) -> dict[str, Tensor] | Tensor:
        if mode == "loss" and self.supervision is not None:
            supervised = self.supervision(self.segmentor, image)
            with torch.autocast(image.device.type, enabled=False):
                return self.supervision.total(supervised, label, loss=self.loss)
        logits = self.segmentor(image)
        if mode == "predict":
            return logits
        # mmengine adds up the entries, whose names begin with "loss"; sums over pixels want full precision.
        with torch.autocast(image.device.type, enabled=False):
            return self.loss(DenseMap(logits.float()), label)

    def compile_network(self) -> None:
        """Have torch.compile translate what runs on every iteration."""
        (self.segmentor if self.supervision is None else self.supervision).compile()

    def named_parts(self) -> nn.Module:
        """What is trained, under the names of its parts: backbone, decoder, head, and auxiliary where there is one."""
        if self.supervision is None:
            return self.segmentor
        return nn.ModuleDict({**dict(self.segmentor.named_children()), "auxiliary": self.supervision})

    def init_weights(self) -> None:
        """Nothing: the segmentor's constructor did it, and mmengine would walk and log every parameter."""


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

    def load(self, weights: Mapping[str, Tensor], updates: int) -> None:
        """Continue from saved averages."""
        self.model.load_state_dict(weights)
        self.updates = updates
