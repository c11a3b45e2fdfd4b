"""The loop of every sliding window: read a slab, run its windows, add them up, hand on the planes that are final.

Sums are kept only for the planes that windows still add to; the memory of a finished plane is used again.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.batching import BatchSize, Predict, forwards
from densevit.inference.layout import Index, Layout
from densevit.inference.source import Source
from densevit.inference.windows import Blend

Foreground = Callable[[Tensor], object]


@dataclass(frozen=True)
class Work:
    """How windows are cut, run and added. `device` holds the sums; None as `dtype` is float32, or the logits' larger.

    `padding` fills windows that reach beyond the image: a number, "replicate" or "reflect". `foreground` gets a window
    (C, *roi) and says whether it has to be run at all.
    """

    layout: Layout
    weigh: Blend
    batch: BatchSize
    device: torch.device
    dtype: torch.dtype | None = None
    padding: float | str = 0.0
    foreground: Foreground | None = None
    progress: Callable[[int, int], None] | None = None


class Ring:
    """Weighted sums (K, *S) with only `layout.num_planes` planes along its axis: plane p lies at p % num_planes.

    `like` are a window's logits (K, *roi): their classes and memory layout (channels last or first) become the ring's;
    adding windows, and argmax, are then several times faster.
    """

    def __init__(self, work: Work, like: Tensor):
        layout = work.layout
        self.layout = layout
        self.dim = layout.axis - len(layout.axes)  # counted from the end: of (K, *S) and of (*S)
        self.length = layout.num_planes
        size = list(layout.size)
        size[layout.axis] = self.length
        options = dict(dtype=work.dtype or torch.promote_types(like.dtype, torch.float32), device=work.device)
        channels_last = not like.is_contiguous() and nd.to_grid(like[None]).is_contiguous()
        if channels_last:
            self.total = torch.zeros(*size, len(like), **options).movedim(-1, 0)
        else:
            self.total = torch.zeros(len(like), *size, **options)

    def add(self, logits: Tensor, index: Index, weights: Tensor) -> None:
        """Add one window's logits (K, *roi), weighted by (*S_window), the part of it that lies inside the image."""
        classes = len(self.total)
        if len(logits) != classes:
            raise ValueError(f"predict returned {len(logits)} classes after {classes}; every window needs the same")
        logits = logits[(slice(None), *self.layout.inside(index))]
        region = list(self.layout.covered(index))
        planes = region[self.layout.axis]
        for first, count, place in self.runs(planes.start, planes.stop):
            region[self.layout.axis] = slice(place, place + count)
            total = self.total[(slice(None), *region)]
            parts = [x.narrow(self.dim, first - planes.start, count) for x in (logits, weights)]
            if total.dtype == torch.promote_types(logits.dtype, weights.dtype):
                total.addcmul_(*parts)
            else:  # mixed types are slow in one operation
                total.add_(torch.mul(*parts).to(total.dtype))

    def runs(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first plane, number of planes, place of the first) of each run of neighbours that [begin, end) lies in."""
        while begin < end:
            place = begin % self.length
            count = min(end - begin, self.length - place)
            yield begin, count, place
            begin += count


def stream(predict: Predict, source: Source, work: Work) -> Iterator[tuple[int, Tensor]]:
    """(first plane, summed logits (K, *S) of finished planes) in order, views of memory that is used again."""
    layout, ring = work.layout, None
    for step in range(len(layout.steps)):
        slab = source.planes(*layout.planes(step))
        ring = _run_step(predict, slab, step, work, ring)
        for first, count, place in ring.runs(*layout.finished(step)):
            planes = ring.total.narrow(ring.dim, place, count)
            if planes.dtype == torch.float16 and planes.isinf().any():
                raise ValueError("the sums outgrew float16; give sum_dtype=torch.bfloat16 or torch.float32")
            yield first, planes
            if step + 1 < len(layout.steps):
                planes.zero_()


def _run_step(predict: Predict, slab: Tensor, step: int, work: Work, ring: Ring | None) -> Ring:
    """Run a step's windows and add them to the ring, a new one if there is none yet."""
    layout = work.layout
    begin, windows = layout.planes(step)[0], layout.windows(step)
    cut = partial(cut_window, slab, layout, begin=begin, padding=work.padding)
    chosen = windows if work.foreground is None else [i for i in windows if work.foreground(cut(i).clone())]
    only_counts = not chosen and ring is None  # then one window is run nevertheless, to know the number of classes
    done = layout.steps[step][0] * len(layout.row(0))
    last = done + len(windows)
    for index, logits in forwards(predict, windows[:1] if only_counts else chosen, cut=cut, size=work.batch):
        ring = ring or Ring(work, logits)
        if not only_counts:
            ring.add(logits.to(work.device), index, work.weigh(index))
        del logits  # the next ones are made before this name is used again
        done += 1
        if work.progress is not None and done < last:
            work.progress(done, layout.num_windows)
    if work.progress is not None:
        work.progress(last, layout.num_windows)
    return ring


def cut_window(slab: Tensor, layout: Layout, index: Index, begin: int, padding: float | str) -> Tensor:
    """One window: (C, *S) whose planes start at `begin` -> (C, *roi), padded where it reaches beyond the image."""
    place = list(layout.covered(index))
    planes = place[layout.axis]
    place[layout.axis] = slice(planes.start - begin, planes.stop - begin)
    window = slab[(slice(None), *place)]
    if window.shape[1:] == layout.roi_size:
        return window
    missing = [(part.start, roi - part.stop) for roi, part in zip(layout.roi_size, layout.inside(index), strict=True)]
    amounts = [n for before_after in reversed(missing) for n in before_after]  # F.pad begins with the last axis
    if not isinstance(padding, str):
        return F.pad(window, amounts, value=padding)
    size = window.shape[1:]
    if padding == "reflect" and any(max(before_after) >= s for before_after, s in zip(missing, size, strict=True)):
        raise ValueError(f"padding='reflect' needs an image larger than the padding, got {tuple(size)}; use a number")
    return F.pad(window[None], amounts, mode=padding)[0]
