"""Multiply-accumulates of a model: those of its convolutions and matrix products, attention's two among them.

Norms, activations, softmax and resizing are not counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class MacCount:
    """Of the whole, and of each module by its dotted name; what is in a module's parts is in its own number too."""

    total: int
    by_module: dict[str, int]


def count_macs(model: nn.Module, size: Sequence[int], *, in_channels: int | None = None) -> MacCount:
    """Count one image of this size, in the mode (training or not) that the model is in, without computing anything.

    `in_channels` is needed for models that do not tell theirs. Weights stay where they are: shapes alone run.
    """
    channels = model.in_channels if in_channels is None else in_channels
    return count_macs_of(model, [torch.empty(1, channels, *size, device="meta")])


def count_macs_of(model: nn.Module, inputs: Sequence[object]) -> MacCount:
    """Count one call with these inputs, which hold tensors of the meta device."""
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    counter = FlopCounterMode(display=False)
    # Attention in plain products: the counter has no formula for some of the fused kernels, the CPU's among them.
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        functional_call(model, shapes, tuple(inputs))
    counts = {name: sum(operations.values()) // 2 for name, operations in counter.get_flop_counts().items()}
    prefix = f"{type(model).__name__}."
    by_module = {name.removeprefix(prefix): n for name, n in counts.items() if name.startswith(prefix)}
    return MacCount(counter.get_total_flops() // 2, by_module)
