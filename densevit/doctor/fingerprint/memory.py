"""What a training step takes at its peak, estimated without computing anything."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Beyond what is kept: gradients of the largest maps, and what an operation needs while it runs; and what libraries take
# on their first use. With these two no measured peak was above its estimate (docs/fingerprint.md has the table).
PASSING = 1.3
LIBRARIES = 300_000_000
BYTES_A_WEIGHT = 16  # float32: the weight, its gradient, Adam's two moments


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes for weights, what belongs to them and libraries, and for each crop of a batch."""

    weights: int
    a_crop: int

    def of(self, batch_size: int) -> int:
        """At the peak of a step in float32."""
        return self.weights + batch_size * self.a_crop


def training_memory(model: nn.Module, size: tuple[int, ...]) -> TrainingMemory:
    """Of crops (D, H, W) and a model on the meta device: what autograd keeps for its backward, times `PASSING`."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    image = torch.empty(1, model.in_channels, *size, device="meta")
    label = torch.empty(1, *size, dtype=torch.int64, device="meta")
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        F.cross_entropy(model(image), label)
    weights = sum(parameter.numel() for parameter in model.parameters())
    return TrainingMemory(
        BYTES_A_WEIGHT * weights + LIBRARIES, int(PASSING * sum(storage.nbytes() for storage in kept.values()))
    )
