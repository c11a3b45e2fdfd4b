"""A network made into another one: on whole cells, over several views, over slices, faster; what it says of one image.

Sizes: image (C, *S), logits (K, *S), windows (B, C, *S); slices lie side by side along one of the axes D, H, W.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.batching import Predict
from densevit.inference.options import InferenceOptions, check_scales, flip_axes
from densevit.inference.sliding_window import sliding_window
from densevit.sides import Pairs, mirrored_classes

AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def on_whole_cells(model: Predict, divisor: int | Sequence[int]) -> Predict:
    """A model that sees an image with zeros beside it, up to multiples of `divisor`; its logits are cropped back.

    A network whose coarsest stride does not divide an image has cells that reach beyond it. Decoders resize each map
    to the size of the finest, as the published ones do, and so stretch such a map over the image: what it says comes
    to lie elsewhere (docs/decisions/whole_cells.md).
    """

    def predict(x: Tensor) -> Tensor:
        padded = nd.to_image(nd.pad_to_multiple(nd.to_grid(x), divisor))
        return nd.to_image(nd.crop(nd.to_grid(model(padded)), x.shape[2:]))

    return predict


def on_views(
    predict: Predict,
    *,
    flips: Sequence[int | Sequence[int]] = (),
    scales: Sequence[float] = (1.0,),
    batch_size: int | None = None,
    sides: Pairs = (),
) -> Predict:
    """A network that sees each window several times: the mean of its logits over flips and scales, turned back.

    (B, C, *S) -> (B, K, *S) in at least float32. At each of `scales` a window is seen as it is and once per entry of
    `flips`: a spatial axis, or several flipped together; -1 is the last one, left to right. `batch_size` views of every
    window share a forward, by default all of one size. `sides` are pairs of channels of K, such as those of the left
    and the right kidney: they change places in views that are mirrored along the last axis. Why logits and not
    probabilities are averaged: docs/decisions/mean_of_logits.md.
    """
    check_scales(scales)

    def see(x: Tensor) -> Tensor:
        views = [(), *(flip_axes(flip, x.ndim - 2) for flip in flips)]
        total = None
        for scale in scales:
            scaled = nd.resize(x, [max(1, int(s * scale + 0.5)) for s in x.shape[2:]])
            back = nd.resize(sum(_seen(predict, scaled, views, batch_size or len(views), sides)), x.shape[2:])
            total = back if total is None else total.add_(back)
        return total.div_(len(views) * len(scales))

    return see


def _seen(
    predict: Predict, x: Tensor, views: Sequence[Sequence[int]], batch_size: int, sides: Pairs
) -> Iterator[Tensor]:
    """What the network says of each view, turned back: the flipped axes of each -> logits (B, K, *S)."""
    for first in range(0, len(views), batch_size):
        flipped = views[first : first + batch_size]
        logits = predict(torch.cat([_flip(x, axes) for axes in flipped])).unflatten(0, (len(flipped), len(x)))
        for part, axes in zip(logits.to(torch.promote_types(logits.dtype, torch.float32)), flipped, strict=True):
            turned_back = _flip(part, axes)
            yield turned_back[:, mirrored_classes(part.shape[1], sides)] if sides and -1 in axes else turned_back


def neighbouring_slices(image: np.ndarray, axis: int, n: int) -> np.ndarray:
    """(C, D, H, W) -> (C * (2n + 1), D, H, W): beside each slice along `axis` the n before and after it.

    Channels come slice by slice, the first of them n slices before; at the ends the outermost slice is repeated.
    """
    if n == 0:
        return image
    place = np.arange(image.shape[axis + 1])
    shifts = [(place + shift).clip(0, len(place) - 1) for shift in range(-n, n + 1)]
    return np.concatenate([image.take(shifted, axis + 1) for shifted in shifts])


def over_slices(model: Predict, axis: int) -> Predict:
    """A network of pictures (B, C, H, W) -> (B, K, H, W) as one of volumes: (B, C, D, H, W) -> (B, K, D, H, W).

    The slices along `axis` (of D, H, W) of all windows form one batch.
    """

    def predict(x: Tensor) -> Tensor:
        slices = x.movedim(axis + 2, 1)
        return model(slices.flatten(0, 1)).unflatten(0, slices.shape[:2]).movedim(1, axis + 2)

    return predict


def over_steps(model: Predict, step: int) -> Predict:
    """A network of clips whose frames are `step` apart, as one of all frames: (B, C, T, *S) -> (B, K, T, *S).

    The `step` clips that lie between one another form one batch.
    """

    def predict(x: Tensor) -> Tensor:
        clips = x.unflatten(2, (-1, step)).movedim(3, 1)  # (B, step, C, T / step, *S)
        return model(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]).movedim(1, 3).flatten(2, 3)

    return predict


def accelerate(
    predict: Predict, *, amp: str | None = None, channels_last: bool = False, compile: str | None = None
) -> Predict:
    """The same function (B, C, *roi) -> (B, K, *roi), faster where the device gains by it.

    `amp` is "bf16" or "fp16"; `channels_last` lays the windows out as (B, *roi, C) in memory; `compile` is a mode of
    torch.compile ("default", "reduce-overhead" for CUDA graphs, "max-autotune"), for which every batch should have one
    shape: give `sliding_window` a number as `batch_size`, and `fixed_batch=True`.
    """
    check_amp(amp)
    run = predict if compile is None else torch.compile(predict, mode=compile, dynamic=False)

    def accelerated(windows: Tensor) -> Tensor:
        if channels_last:
            windows = windows.contiguous(memory_format=nd.CHANNELS_LAST[windows.ndim - 2])
        if compile is not None and windows.is_cuda:
            torch.compiler.cudagraph_mark_step_begin()  # the logits of the batch before have been added up
        with autocast(windows.device, amp):
            return run(windows)

    return accelerated


def autocast(device: torch.device, amp: str | None) -> AbstractContextManager:
    """Mixed precision of that name ("bf16", "fp16"), or none."""
    return torch.autocast(device.type, AMP_DTYPES[amp]) if amp else nullcontext()


def check_amp(amp: str | None) -> None:
    """ValueError for a name of a precision that does not exist."""
    if amp is not None and amp not in AMP_DTYPES:
        raise ValueError(f"amp must be one of {', '.join(AMP_DTYPES)} or None, got {amp!r}")


def as_asked(model: Predict, options: InferenceOptions) -> Predict:
    """The model on whole cells and over all views that `options` ask for. It names its `divisor` unless they do."""
    whole_cells = on_whole_cells(model, model.divisor if options.divisor is None else options.divisor)
    if not options.flips and options.scales == (1.0,):
        return whole_cells
    at_once = options.batch_size if options.mode == "whole" and options.batch_size != "auto" else None
    if options.mode == "slide_nnunet":
        at_once = 1  # its windows fill the memory by themselves: eight mirrors at once would take eight times as much
    views = dict(flips=options.flips, scales=options.scales, sides=options.sides or ())
    return on_views(whole_cells, **views, batch_size=at_once)


def predict_logits(
    model: Predict,
    image: Tensor,
    *,
    mode: str = "whole",
    roi_size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    batch_size: int = 1,
    flips: Sequence[int | Sequence[int]] = (),
    scales: Sequence[float] = (1.0,),
    sides: Pairs = (),
) -> Tensor:
    """(C, *S) -> logits (K, *S) in at least float32, the mean of all windows and views; see `InferenceOptions`.

    `model` maps (B, C, *S) to (B, K, *S) and runs under the caller's autocast, on the image as it is: not on whole
    cells. ValueError for options that do not fit the image.
    """
    seen = dict(mode=mode, roi_size=roi_size, stride=stride, batch_size=batch_size)
    options = InferenceOptions(divisor=1).override(**seen, flips=flips, scales=scales, sides=sides)
    options = options.on_axes(image.ndim - 1)
    return sliding_window(as_asked(model, options), image, windows=options.windows(image.shape[1:]))


def _flip(x: Tensor, axes: Sequence[int]) -> Tensor:
    return x.flip(axes) if axes else x
