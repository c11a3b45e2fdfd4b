"""A network made faster for windows of one shape: mixed precision, channels-last memory, compiled code."""

from contextlib import nullcontext

import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.batching import Predict

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def accelerate(
    predict: Predict, *, amp: str | None = None, channels_last: bool = False, compile: str | None = None
) -> Predict:
    """The same function (B, C, *roi) -> (B, K, *roi), faster where the device gains by it.

    `amp` is "bf16" or "fp16"; `channels_last` lays the windows out as (B, *roi, C) in memory; `compile` is a mode of
    torch.compile ("default", "reduce-overhead" for CUDA graphs, "max-autotune"), for which every batch should have one
    shape: give `sliding_window` a number as `batch_size`, and `fixed_batch=True`.
    """
    if amp is not None and amp not in AMP_DTYPES:
        raise ValueError(f"amp must be one of {', '.join(AMP_DTYPES)} or None, got {amp!r}")
    run = predict if compile is None else torch.compile(predict, mode=compile, dynamic=False)

    def accelerated(windows: Tensor) -> Tensor:
        if channels_last:
            windows = windows.contiguous(memory_format=nd.CHANNELS_LAST[windows.ndim - 2])
        if compile is not None and windows.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()  # the logits of the batch before have been added up
        precision = torch.autocast(windows.device.type, AMP_DTYPES[amp]) if amp else nullcontext()
        with precision:
            return run(windows)

    return accelerated
