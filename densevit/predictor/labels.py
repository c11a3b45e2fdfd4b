"""Labels of a prepared image of any rank, on the grid that it was resampled from.

Legend: image (C, *S), normalised; label (*size), class numbers; logits (K, *size).
"""

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.blocks.nd import resize
from densevit.inference import (
    ClipOptions,
    InferenceOptions,
    NativeGrid,
    Placement,
    SliceOptions,
    Windows,
    plan_windows,
    sliding_window,
)
from densevit.inference.network import as_asked, autocast, neighbouring_slices, over_slices, over_steps
from densevit.inference.reduce import REDUCTIONS
from densevit.inference.source import ArrayLike
from densevit.labels import label_type

logger = logging.getLogger("densevit")
Network = Callable[[Tensor], Tensor]


@dataclass
class Stopwatch:
    """`seconds` of each part; a part that comes several times is added up."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[part] += time.perf_counter() - start


class TimedNetwork:
    """A network (B, C, *S) -> (B, K, *S) that knows how long its forwards took; a GPU is not waited for."""

    def __init__(self, network: Callable[[Tensor], Tensor], *, device: torch.device):
        self.network = network
        self.on_gpu = device.type == "cuda"
        self.forwards: list[tuple[Any, Any]] = []  # seconds or events, before and after

    def __call__(self, x: Tensor) -> Tensor:
        before, logits, after = self._now(), self.network(x), self._now()
        self.forwards.append((before, after))
        return logits

    def seconds(self) -> float:
        """Of all forwards so far; on a GPU, once their results are there."""
        return sum(a.elapsed_time(b) / 1000 if self.on_gpu else b - a for a, b in self.forwards)

    def _now(self) -> "float | torch.cuda.Event":
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@torch.inference_mode()
def label_image(
    model: Network,
    image: Tensor | ArrayLike,
    *,
    options: InferenceOptions,
    size: Sequence[int] | None = None,
    native: NativeGrid | None = None,
    slices: SliceOptions | None = None,
    clips: ClipOptions | None = None,
    device: str | torch.device = "cpu",
    amp: str | None = None,
    max_memory: int | str | None = None,
    out: np.ndarray | None = None,
    stopwatch: Stopwatch | None = None,
) -> np.ndarray:
    """(C, *S) -> the most probable class of each place (*size): logits are interpolated, and become labels in slabs.

    `model` is in eval mode and on `device`, and windows are brought there; `size` is the image's own by default, over
    the same box; `native`, of `size`, says where else its voxels lie. With `slices` a model of pictures sees a volume
    slice by slice, and `options` speak of those; with `clips` the image is a video, and labels are made in the order of
    its frames. `amp` is "bf16" or "fp16"; `max_memory` ("4GB", or bytes) bounds what windows take. `out` takes the
    labels: an integer array of `size`, or what stores like one. `stopwatch` learns what the forwards took ("network")
    and all that makes labels of them ("restore"). ValueError for options that do not fit the image.
    """
    device, start, size = torch.device(device), time.perf_counter(), tuple(size or image.shape[1:])
    reduce = "regions" if options.overlapping else "labels"
    seen, image, windows = _by_windows(model, image, options, slices, clips)
    network = TimedNetwork(seen, device=device)
    if native is None and size != tuple(image.shape[1:]):
        native = NativeGrid.same_extent(size, image.shape[1:])
    groups = dict(windows=windows, placement=Placement(axis=0 if clips else None, window_device=device))
    if out is None:
        out = np.empty(size, label_type(model.num_classes))
    with autocast(device, amp):
        if slices is None and max_memory is None and native is None and windows.roi_size == size:
            out[...] = REDUCTIONS[reduce](network(_finite(torch.as_tensor(image[:]))[None].to(device))[0]).cpu().numpy()
        else:
            planned: dict[str, Any] = {}
            if max_memory is not None:
                plan = plan_windows(network, image, **groups, max_memory=max_memory, new_tensor=False)
                logger.info("%s", plan)
                planned = plan.options
            sliding_window(network, image, **groups, **planned, reduce=reduce, native=native, out=out)
    if stopwatch is not None:
        stopwatch.seconds["network"] += network.seconds()
        stopwatch.seconds["restore"] += time.perf_counter() - start - network.seconds()
    return out


@torch.inference_mode()
def image_logits(
    model: Network,
    image: Tensor,
    *,
    options: InferenceOptions,
    slices: SliceOptions | None = None,
    clips: ClipOptions | None = None,
    device: str | torch.device = "cpu",
    amp: str | None = None,
) -> Tensor:
    """(C, *S) -> the logits of which `label_image` makes labels, all of them, (K, *S) on `device`."""
    size = image.shape[1:]
    seen, image, windows = _by_windows(model, image, options, slices, clips)
    with autocast(torch.device(device), amp):
        logits = sliding_window(seen, image, windows=windows, window_device=device)
        return resize(logits[None], size)[0]


def fit_size(size: Sequence[int], box: Sequence[int]) -> tuple[int, ...]:
    """The largest size of the same shape whose sides, from the longest to the shortest, are within the box's."""
    scale = min(b / s for s, b in zip(sorted(size), sorted(box), strict=True))
    return tuple(max(1, int(s * scale + 0.5)) for s in size)


def _finite(image: Tensor) -> Tensor:
    if not image.sum().isfinite() and not image.isfinite().all():  # a sum is finite only if all of its terms are
        raise ValueError("the image holds NaN or infinity, of which nothing can be predicted; correct it")
    return image


def _by_windows(
    model: Network,
    image: Tensor | ArrayLike,
    options: InferenceOptions,
    slices: SliceOptions | None,
    clips: ClipOptions | None,
) -> tuple[Network, Tensor | ArrayLike, Windows]:
    """What sees windows, the image that they are cut from, and the windows."""
    options = options.on_axes(len(image.shape) - 1 - (slices is not None))
    if options.base_size is not None and (slices or clips):
        raise ValueError("base_size is for pictures, and slices and frames keep the size that they have; leave it out")
    seen = as_asked(model, options)
    if clips is not None:
        options = options.on_clips(image.shape[1:], clips)
        seen = seen if clips.step == 1 else over_steps(seen, min(clips.step, image.shape[1]))
    if slices is None:
        if options.base_size is not None:
            image = resize(torch.as_tensor(image[:])[None], fit_size(image.shape[1:], options.base_size))[0]
        return seen, image, options.windows(image.shape[1:])
    image = torch.from_numpy(neighbouring_slices(image.cpu().numpy(), slices.dim, slices.neighbours))
    windows = options.windows([n for axis, n in enumerate(image.shape[1:]) if axis != slices.dim])

    def of_one_slice(size: Sequence[int] | None) -> tuple[int, ...] | None:
        """256 x 256 of axial slices -> 1 x 256 x 256."""
        return size and (*size[: slices.dim], 1, *size[slices.dim :])

    windows = replace(windows, roi_size=of_one_slice(windows.roi_size), stride=of_one_slice(windows.stride))
    return over_slices(seen, slices.dim), image, windows
