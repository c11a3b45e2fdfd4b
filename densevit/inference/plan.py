"""What a sliding window will take before it runs: windows, bytes and seconds; and how it fits into a limit of memory.

Sizes: image (C, *S), windows (B, C, *roi), logits (B, K, *roi).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from densevit.inference.batching import Predict, check_logits, solve_batch, try_windows
from densevit.inference.layout import Layout
from densevit.inference.memory import available_bytes, peak_above
from densevit.inference.sliding_window import CHUNK, sliding_window
from densevit.inference.source import ArrayLike, check_source
from densevit.inference.windows import Keywords, Placement, Windows, grouped
from densevit.texts import format_bytes, parse_bytes

if TYPE_CHECKING:
    from typing_extensions import Unpack

FLOAT, LABEL = 4, 8  # bytes of a float32, of an int64
SUM_DTYPES = (torch.float32, torch.float16)  # in the order of preference


@dataclass(frozen=True)
class WindowPlan:
    """How `sliding_window` would run: pass `options` to it, beside what was asked.

    `device_bytes` and `host_bytes` name the parts of the peak on each side, beyond image, model and libraries (on a
    CPU everything is the host's); `whole_bytes` is what the sums of the whole image would take, without streaming.
    `seconds` is the time of all forwards, from one timed one.
    """

    layout: Layout
    num_classes: int
    batch_size: int
    sum_dtype: torch.dtype
    seconds: float
    device_bytes: dict[str, int]
    host_bytes: dict[str, int]
    whole_bytes: int

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of `sliding_window`."""
        return dict(axis=self.layout.axis, batch_size=self.batch_size, sum_dtype=self.sum_dtype)

    @property
    def peak_bytes(self) -> int:
        """Both sides together."""
        return sum((self.device_bytes | self.host_bytes).values())

    def __str__(self) -> str:
        layout = self.layout
        rows = len(layout.axes[layout.axis].starts)
        lines = [
            f"{layout.num_windows} windows of {_times(layout.roi_size)} on {_times(layout.size)}, {self.num_classes} "
            f"classes: {rows} rows along axis {layout.axis}, {self.batch_size} window{'s' * (self.batch_size != 1)} a "
            f"forward, about {self.seconds:.0f} s of forwards"
        ]
        for side, parts in (("device", self.device_bytes), ("host", self.host_bytes)):
            if parts:
                listed = ", ".join(f"{name} {format_bytes(count)}" for name, count in parts.items())
                lines.append(f"{side}: {format_bytes(sum(parts.values()))} ({listed})")
        held = "without streaming, the sums alone would take" if len(layout.steps) > 1 else "held whole, the sums take"
        dtype = str(self.sum_dtype).removeprefix("torch.")
        lines.append(f"sums in {dtype}; {held} {format_bytes(self.whole_bytes)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Question:
    """What is to be planned."""

    window: Tensor  # (1, C, *roi) zeros, of the image's type and on the device that windows run on
    device: torch.device  # of the sums
    whole: bool  # the logits of the whole image are held
    new_tensor: bool  # the result is a new tensor in memory
    in_place: bool  # windows are cut from the image itself, not from a copied slab
    mapped: bool  # weights come from a map of the planes of a row

    def plan(self, layout: Layout, cost: "Cost", batch: int, sum_dtype: torch.dtype) -> WindowPlan:
        """What runs of `batch` windows take where windows run, and where sums are kept."""
        classes, planes = cost.num_classes, layout.cross_section
        windows = {"network": cost.first + (batch - 1) * cost.further, "windows": batch * self.window.nbytes}
        if not self.in_place:
            windows["image slab"] = FLOAT * self.window.shape[1] * planes * _slab_planes(layout)
        sums = {
            "sums": classes * layout.num_planes * planes * sum_dtype.itemsize,
            "weights": 2 * FLOAT * prod(layout.roi_size),
        }
        if self.mapped:
            sums["weight map"] = FLOAT * layout.num_planes * planes
        if not self.whole:
            at_once = min(max(CHUNK // classes, prod(layout.size) // layout.size[0]), layout.num_planes * planes)
            sums["reducing"] = at_once * (classes + 2 * LABEL + FLOAT)
        if self.new_tensor and not self.whole:
            sums["result"] = LABEL * prod(layout.size)
        device, host = {}, {}
        for place, parts in ((self.window.device, windows), (self.device, sums)):
            (host if place.type == "cpu" else device).update(parts)
        return WindowPlan(
            layout,
            num_classes=classes,
            batch_size=batch,
            sum_dtype=sum_dtype,
            seconds=cost.seconds * layout.num_windows,
            device_bytes=device,
            host_bytes=host,
            whole_bytes=classes * prod(layout.size) * FLOAT,
        )


@torch.no_grad()
def plan_windows(
    predict: Predict,
    image: Tensor | ArrayLike,
    *,
    windows: Windows | None = None,
    placement: Placement | None = None,
    reduce: str = "labels",
    new_tensor: bool = True,
    max_memory: int | str | None = None,
    **keywords: "Unpack[Keywords]",
) -> WindowPlan:
    """Measure `predict` on one and two windows of zeros, and say how `sliding_window` would run within `max_memory`.

    Windows and placement are given as to `sliding_window`; of the image only shape and type are looked at. `reduce` is
    "labels" or "logits"; `new_tensor=False` says that `out` will take the result. Where float32 sums do not fit into
    `max_memory` ("8GB", or bytes, host and device together), the plan takes fewer windows, then float16. What `native`
    takes, some 100 MB, is not counted. ValueError, with both numbers, where nothing fits, and for options that cannot
    be.
    """
    windows, placement = grouped(windows, placement, keywords)
    size = check_source(image, windows.roi_size)
    if reduce not in ("labels", "logits"):
        raise ValueError(f"reduce must be 'labels' or 'logits' for a plan, got {reduce!r}; others are as labels")
    if placement.split:
        raise ValueError("a plan is for one process, got split=True; plan without it, each process takes less")
    windows_on, device = placement.devices(image)
    order = dict(axis=placement.axis, stream=reduce != "logits" or not new_tensor)
    layout = windows.layout(size, **order)
    question = Question(
        window=_empty_window(image, layout, windows_on),
        device=device,
        whole=not order["stream"],
        new_tensor=new_tensor,
        in_place=isinstance(image, Tensor) and image.device == windows_on and image.ndim > len(size),
        mapped=windows.least_weight > 0,
    )
    limit = None if max_memory is None else parse_bytes(max_memory)
    cost = measure(predict, question.window, windows.batch_size, limit)
    plans = []
    for sum_dtype in SUM_DTYPES if placement.sum_dtype is None else [placement.sum_dtype]:
        for batch in dict.fromkeys((min(cost.batch_size, layout.num_windows), 1)):
            layout = replace(windows, batch_size=batch).layout(size, **order)
            plans.append(question.plan(layout, cost, batch, sum_dtype))
            if limit is None or plans[-1].peak_bytes <= limit:
                return plans[-1]
    least = min(plans, key=lambda plan: plan.peak_bytes)
    raise ValueError(
        f"max_memory is {format_bytes(limit)}, and this takes {format_bytes(least.peak_bytes)} at least; "
        f"{'reduce to labels, ' * question.whole}give a smaller roi_size, or fewer classes at a time\n{least}"
    )


@dataclass(frozen=True)
class Cost:
    """What forwards took: classes, seconds of a window, peak bytes of one window and of each further one."""

    num_classes: int
    batch_size: int
    seconds: float
    first: int
    further: int


def measure(predict: Predict, window: Tensor, batch_size: int | str, max_bytes: int | None = None) -> Cost:
    """Run one window (1, C, *roi) twice, the first time for what libraries do once, and two windows together."""
    classes = check_logits(predict(window), window).shape[1]
    one = try_windows(predict, window)[1]
    first = max(one.bytes, _in_the_loop(predict, window, classes))
    if batch_size == 1:
        return Cost(classes, 1, one.seconds, first, 0)
    two = try_windows(predict, torch.cat([window, window]))[1]
    room = min(available_bytes(window.device), max_bytes or available_bytes(window.device))
    batch = solve_batch(one, two, room) if batch_size == "auto" else int(batch_size)
    seconds = one.seconds if batch == 1 else two.seconds
    return Cost(classes, batch, seconds, first, max(two.bytes - one.bytes, 0))


def _in_the_loop(predict: Predict, window: Tensor, classes: int) -> int:
    """What forwards of several windows take beside the sums: more than one does where freed memory is in pieces."""
    roi_size = window.shape[2:]
    image = window[0].repeat(1, *(1 for _ in roi_size[1:]), 3)  # three windows, beside one another
    with peak_above(window.device) as peak:
        sliding_window(predict, image, roi_size=tuple(roi_size), overlap=0.0, batch_size=1)
    return peak.bytes - classes * image[0].numel() * FLOAT


def _empty_window(image: Tensor | ArrayLike, layout: Layout, device: torch.device) -> Tensor:
    channels = image.shape[0] if len(image.shape) > len(layout.size) else 1
    dtype = image.dtype if isinstance(image, Tensor) else torch.float32
    return torch.zeros(1, int(channels), *layout.roi_size, dtype=dtype, device=device)


def _slab_planes(layout: Layout) -> int:
    """The most planes of the image in memory at once: those of a step, those of the step before, and the new ones."""
    planes = [layout.planes(step) for step in range(len(layout.steps))]
    joins = [(b - a) + (d - c) + max(d - b, 0) for (a, b), (c, d) in pairwise(planes)]
    return max(joins, default=layout.num_planes)


def _times(values: Sequence[int]) -> str:
    return " x ".join(map(str, values))
