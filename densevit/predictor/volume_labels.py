"""Labels of one prepared volume, on the grid that it was resampled from.

Legend: image (C, *S) normalised, at the spacing of training; label (*size), class numbers.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.inference import NativeGrid, on_views, on_whole_cells, plan_windows, sliding_window
from densevit.inference.views import SLIDES
from densevit.labels import label_type
from densevit.predictor.predictor import autocast
from densevit.predictor.stopwatch import Stopwatch, TimedNetwork
from densevit.predictor.volume_header import inference_options

logger = logging.getLogger("densevit")
PLANNED = ("roi_size", "stride", "grid", "batch_size", "window_device")  # what a plan needs of the options


def label_volume(
    model: nn.Module,
    image: Tensor | np.ndarray,
    *,
    size: Sequence[int],
    inference: Mapping[str, Any],
    device: str | torch.device,
    amp: str | None = None,
    max_memory: int | str | None = None,
    out: np.ndarray | None = None,
    stopwatch: Stopwatch | None = None,
) -> np.ndarray:
    """(C, *S) -> the most probable class of each voxel (*size): logits are interpolated, then become labels in slabs.

    `model` is in eval mode and on `device`; windows are brought there. `inference` holds the keys of
    `densevit.predictor.volume_header.INFERENCE`, those left out as there. `amp` is "bf16" or "fp16"; `max_memory`
    ("4GB", or bytes) bounds what windows take. `out` takes the labels: an integer array or a memory map of `size`.
    `stopwatch` learns what the forwards took ("network") and all that makes labels of them ("restore"). ValueError
    for options that do not fit.
    """
    chosen, device = inference_options({}, inference), torch.device(device)
    network = _network(model, chosen)
    working = tuple(image.shape[1:])
    options = _windows(chosen, working) | dict(batch_size=chosen["batch_size"], window_device=device)
    if out is None:
        out = np.empty(size, label_type(model.num_classes))
    timed = TimedNetwork(network, device=device)
    with autocast(device, amp):
        if max_memory is not None:
            asked = {key: options[key] for key in PLANNED}
            plan = plan_windows(network, image, **asked, max_memory=max_memory, new_tensor=False)
            logger.info("%s", plan)
            options |= plan.options
        native = None if working == tuple(size) else NativeGrid.same_extent(size, working)
        start = time.perf_counter()
        label = sliding_window(timed, image, **options, reduce="labels", native=native, out=out)
    if stopwatch is not None:
        stopwatch.add("network", timed.seconds())
        stopwatch.add("restore", time.perf_counter() - start - timed.seconds())
    return label


def _network(model: nn.Module, chosen: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """The model on whole cells, and on several views where they are asked for."""
    divisor, flips, scales = (chosen[key] for key in ("divisor", "flips", "scales"))
    network = on_whole_cells(model, model.divisor if divisor is None else divisor)
    return on_views(network, flips=flips, scales=scales) if flips or tuple(scales) != (1.0,) else network


def _windows(chosen: Mapping[str, Any], size: tuple[int, ...]) -> dict[str, Any]:
    """Keywords of `sliding_window`; an image seen whole is one window."""
    if chosen["mode"] == "whole":
        return dict(roi_size=size, stride=size, grid="even", blend="constant")
    return dict(roi_size=chosen["roi_size"], stride=chosen["stride"], **SLIDES[chosen["mode"]])
