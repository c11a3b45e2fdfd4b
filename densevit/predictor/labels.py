"""Labels of a prepared image of any rank, on the grid that it was resampled from.

Legend: image (C, *S), normalised; label (*size), class numbers; logits (K, *size).
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.blocks.nd import resize
from densevit.inference import (
    InferenceOptions,
    NativeGrid,
    on_views,
    on_whole_cells,
    plan_windows,
    predict_logits,
    sliding_window,
)
from densevit.inference.network import AMP_DTYPES
from densevit.inference.reduce import labels as to_labels
from densevit.inference.slices import SliceOptions, neighbouring_slices, over_slices
from densevit.inference.views import SLIDES
from densevit.labels import label_type
from densevit.predictor.stopwatch import Stopwatch, TimedNetwork

logger = logging.getLogger("densevit")
PLANNED = ("roi_size", "stride", "grid", "batch_size", "window_device")  # what a plan needs of the options
Network = Callable[[Tensor], Tensor]


@torch.inference_mode()
def label_image(
    model: Network,
    image: Tensor,
    *,
    options: InferenceOptions,
    size: Sequence[int] | None = None,
    slices: SliceOptions | None = None,
    device: str | torch.device = "cpu",
    amp: str | None = None,
    max_memory: int | str | None = None,
    out: np.ndarray | None = None,
    stopwatch: Stopwatch | None = None,
) -> np.ndarray:
    """(C, *S) -> the most probable class of each place (*size): logits are interpolated, and become labels in slabs.

    `model` is in eval mode and on `device`, and windows are brought there; `size` is the image's own by default. With
    `slices` a model of pictures sees a volume slice by slice, and `options` speak of those. `amp` is "bf16" or
    "fp16"; `max_memory` ("4GB", or bytes) bounds what windows take. `out` takes the labels: an integer array or a
    memory map of `size`. `stopwatch` learns what the forwards took ("network") and all that makes labels of them
    ("restore"). ValueError for options that do not fit the image.
    """
    options, device, start = _of_rank(options, image, slices), torch.device(device), time.perf_counter()
    network = _on_whole_cells(model, options)
    if stopwatch is not None:
        network = TimedNetwork(network, device=device)
    own, size = size is None, tuple(size or image.shape[1:])
    one_window = options.mode == "whole" and options.base_size is None and size == tuple(image.shape[1:])
    at_once = slices is None and (max_memory is None and one_window if options.seen_once else own)
    if out is None:
        out = np.empty(size, label_type(model.num_classes))
    with autocast(device, amp):
        if at_once:
            _check_finite(image)
            out[...] = to_labels(_logits(network, image.to(device), options)).cpu().numpy()
        else:
            seen, image, windows = _by_windows(network, image, options, slices)
            windows["window_device"] = device
            if max_memory is not None:
                windows |= _plan(seen, image, windows, max_memory)
            native = None if tuple(image.shape[1:]) == size else NativeGrid.same_extent(size, image.shape[1:])
            sliding_window(seen, image, **windows, reduce="labels", native=native, out=out)
    if stopwatch is not None:
        stopwatch.add("network", network.seconds())
        stopwatch.add("restore", time.perf_counter() - start - network.seconds())
    return out


@torch.inference_mode()
def image_logits(
    model: Network,
    image: Tensor,
    *,
    options: InferenceOptions,
    slices: SliceOptions | None = None,
    device: str | torch.device = "cpu",
    amp: str | None = None,
) -> Tensor:
    """(C, *S) -> the logits of which `label_image` makes labels, all of them, (K, *S) on `device`."""
    options, device = _of_rank(options, image, slices), torch.device(device)
    network = _on_whole_cells(model, options)
    with autocast(device, amp):
        if slices is None:
            return _logits(network, image.to(device), options)
        seen, image, windows = _by_windows(network, image, options, slices)
        return sliding_window(seen, image, **windows, window_device=device, device=device)


def autocast(device: torch.device, amp: str | None) -> AbstractContextManager:
    """Mixed precision of that name ("bf16", "fp16"), or none."""
    return torch.autocast(device.type, AMP_DTYPES[amp]) if amp else nullcontext()


def check_amp(amp: str | None) -> None:
    """ValueError for a name of a precision that does not exist."""
    if amp is not None and amp not in AMP_DTYPES:
        raise ValueError(f"amp must be one of {', '.join(AMP_DTYPES)} or None, got {amp!r}")


def fit_size(size: Sequence[int], box: Sequence[int]) -> tuple[int, ...]:
    """The largest size of the same shape whose sides, from the longest to the shortest, are within the box's."""
    scale = min(b / s for s, b in zip(sorted(size), sorted(box), strict=True))
    return tuple(max(1, int(s * scale + 0.5)) for s in size)


def _on_whole_cells(model: Network, options: InferenceOptions) -> Network:
    return on_whole_cells(model, model.divisor if options.divisor is None else options.divisor)


def _check_finite(image: Tensor) -> None:
    if not image.sum().isfinite() and not image.isfinite().all():  # a sum is finite only if all of its terms are
        raise ValueError("the image holds NaN or infinity, of which nothing can be predicted; correct it")


def _fitted(image: Tensor, options: InferenceOptions) -> Tensor:
    if options.base_size is None:
        return image
    return resize(image[None], fit_size(image.shape[1:], options.base_size))[0]


def _logits(network: Network, image: Tensor, options: InferenceOptions) -> Tensor:
    keys = ("mode", "roi_size", "stride", "batch_size", "flips", "scales")
    logits = predict_logits(network, _fitted(image, options), **{key: getattr(options, key) for key in keys})
    return resize(logits[None], image.shape[1:])[0]


def _of_rank(options: InferenceOptions, image: Tensor, slices: SliceOptions | None) -> InferenceOptions:
    """One number for each axis of what the model sees."""
    if slices is not None and options.base_size is not None:
        raise ValueError("base_size is for pictures, and slices keep the size that their volume has; leave it out")
    return options.on_axes(image.ndim - 1 - (slices is not None))


def _by_windows(
    network: Network, image: Tensor, options: InferenceOptions, slices: SliceOptions | None
) -> tuple[Network, Tensor, dict[str, Any]]:
    """What sees windows, what they are cut from, and the keywords of `sliding_window`; a whole image is one window."""
    seen = network if options.seen_once else on_views(network, flips=options.flips, scales=options.scales)
    image, size = _fitted(image, options), None
    if slices is not None:
        size = [n for axis, n in enumerate(image.shape[1:]) if axis != slices.dim]
        image = torch.from_numpy(neighbouring_slices(image.cpu().numpy(), slices.dim, slices.neighbours))
        seen = over_slices(seen, slices.dim)
    size = tuple(size or image.shape[1:])
    windows = dict(roi_size=size, stride=size, grid="even", blend="constant")
    if options.mode != "whole":
        windows = dict(roi_size=options.roi_size, stride=options.stride, **SLIDES[options.mode])
    if slices is not None:  # each slice by itself: 256 x 256 of axial slices -> 1 x 256 x 256
        for key in ("roi_size", "stride"):
            windows[key] = windows[key] and (*windows[key][: slices.dim], 1, *windows[key][slices.dim :])
    return seen, image, windows | dict(batch_size=options.batch_size)


def _plan(network: Network, image: Tensor, windows: dict[str, Any], max_memory: int | str) -> dict[str, Any]:
    plan = plan_windows(
        network, image, **{key: windows[key] for key in PLANNED}, max_memory=max_memory, new_tensor=False
    )
    logger.info("%s", plan)
    return plan.options
