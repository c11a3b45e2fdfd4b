"""A model traced to TorchScript, and proof that the trace computes what the model computes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from densevit.environment import ignore_warnings

TOLERANCE = 1e-3  # of the largest logit, because a trace adds numbers in another order


class TraceError(ValueError):
    """A model cannot be traced, or its trace computes something else."""


def trace(model: nn.Module, *, in_channels: int, sizes: Sequence[Sequence[int]]) -> torch.jit.ScriptModule:
    """Trace a model in eval mode at the first of `sizes` and compare it with the model at all, for batches of 1 and 2.

    Raises TraceError where the two differ: a trace keeps numbers that were computed from the size of the image that it
    was made with, and they may be wrong for other sizes.
    """
    generator = torch.Generator().manual_seed(0)
    images = [torch.randn(batch, in_channels, *size, generator=generator) for size in sizes for batch in (1, 2)]
    with torch.inference_mode(False), torch.no_grad(), ignore_warnings():
        # torch warns of every size that it becomes a constant. The comparison below tells whether that matters.
        try:
            traced = torch.jit.trace(model, images[0], check_trace=False)
        except Exception as error:  # whatever the model's own code raises under tracing
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise TraceError(f"{type(model).__name__} cannot be traced to TorchScript ({reason[0]})") from error
        _follow_device(traced)
        for image in images:
            _compare(model, traced, image)
    return traced


def save(traced: torch.jit.ScriptModule, path: Path, *, extra: Mapping[str, str]) -> None:
    """Write a trace together with text files (name -> text) inside it, as MONAI's ckpt_export does."""
    with ignore_warnings():
        torch.jit.save(traced, str(path), {name: text.encode() for name, text in extra.items()})


def _follow_device(traced: torch.jit.ScriptModule) -> None:
    """Let a trace make new tensors on the device of its input, in place of the device that it was made on."""
    for module in traced.modules():
        if not module._c._has_method("forward"):  # a list of modules, or one that was never called
            continue
        graph = module.graph
        seen = [value for value in graph.inputs() if value.type().kind() == "TensorType"]
        for constant in graph.findAllNodes("prim::Constant"):
            if constant.output().type().kind() != "DeviceObjType":
                continue
            if not seen:
                raise TraceError(f"a part of {traced.original_name} makes tensors on the device of the trace alone")
            device = graph.create("prim::device", seen[:1], 1)
            device.output().setType(constant.output().type())
            device.insertBefore(next(iter(graph.nodes())))
            constant.output().replaceAllUsesWith(device.output())


def _compare(model: nn.Module, traced: torch.jit.ScriptModule, image: Tensor) -> None:
    shape = tuple(image.shape)
    expected = model(image)
    try:
        found = traced(image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise TraceError(f"the trace of {type(model).__name__} fails for images {shape} ({reason})") from error
    apart = float((found - expected).abs().max()) if found.shape == expected.shape else float("inf")
    if not apart <= TOLERANCE * max(1.0, float(expected.abs().max())):
        raise TraceError(
            f"the trace of {type(model).__name__} gives other logits for images {shape}: {apart:.3g} apart"
        )
