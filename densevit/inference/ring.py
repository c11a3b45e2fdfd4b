"""The sums of windows' logits for the planes that windows still add to; a finished plane's memory is used again."""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.grid import Axis, inside
from densevit.inference.layout import Layout


class Ring:
    """Weighted sums (K, *S) with only `layout.num_planes` planes along its axis: plane p lies at p % num_planes.

    `like` are logits of the network (B, K, *roi): their classes, device and memory layout (channels last or first)
    become the ring's; adding windows, and argmax, are then several times faster. Sums are kept in `dtype`, or in
    float32 at least.
    """

    def __init__(self, layout: Layout, like: Tensor, *, device: torch.device, dtype: torch.dtype | None = None):
        self.layout = layout
        self.dim = layout.axis - len(layout.axes)  # counted from the end, of (K, *S) and (*S)
        self.length = layout.num_planes
        size = list(layout.size)
        size[layout.axis] = self.length
        options = dict(dtype=dtype or torch.promote_types(like.dtype, torch.float32), device=device)
        self.total = _empty(like.shape[1], size, channels_last=_is_channels_last(like), **options)

    def add(self, logits: Tensor, index: tuple[int, ...], weights: Tensor) -> None:
        """Add one window's logits (K, *roi), weighted by (*S_window), the part of it that lies inside the image.

        A plane that no row before has reached is written where it is new on every other axis too, not added to:
        nothing has to be zero before.
        """
        axes, row = self.layout.axes, index[self.layout.axis]
        logits = logits[(slice(None), *inside(axes, index))]
        planes, seen = axes[self.layout.axis].covered(row), axes[self.layout.axis].seen(row)
        for first, count, place in self._places(planes.start, planes.start + seen):
            parts = self._narrow(logits, weights, first - planes.start, count)
            self._region(place, count, index).addcmul_(*parts)
        for first, count, place in self._places(planes.start + seen, planes.stop):
            parts = self._narrow(logits, weights, first - planes.start, count)
            self._write(self._region(place, count, index), *parts, axes, index)

    def planes(self, begin: int, end: int, *, at_most: int) -> Iterator[tuple[int, Tensor]]:
        """(first plane, sums (K, *S) of up to `at_most` planes) from `begin` to `end`, views of the ring."""
        for first, count, place in self._places(begin, end):
            for skipped in range(0, count, at_most):
                part = min(at_most, count - skipped)
                yield first + skipped, self.total.narrow(self.dim, place + skipped, part)

    def _places(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first plane, number of planes, place of the first) of the at most two runs that [begin, end) lies in."""
        while begin < end:
            place = begin % self.length
            count = min(end - begin, self.length - place)
            yield begin, count, place
            begin += count

    def _narrow(self, logits: Tensor, weights: Tensor, skipped: int, count: int) -> tuple[Tensor, Tensor]:
        return logits.narrow(self.dim, skipped, count), weights.narrow(self.dim, skipped, count)

    def _region(self, place: int, count: int, index: Sequence[int]) -> Tensor:
        """The ring's part that a window adds to: planes from `place` on, of the other axes what it covers."""
        region = [axis.covered(i) for axis, i in zip(self.layout.axes, index, strict=True)]
        region[self.layout.axis] = slice(place, place + count)
        return self.total[(slice(None), *region)]

    def _write(
        self, region: Tensor, logits: Tensor, weights: Tensor, axes: Sequence[Axis], index: tuple[int, ...]
    ) -> None:
        """New planes: windows of one row come with the last axis fastest, so of these a pixel is new to this window
        exactly where it is new on every other axis."""
        parts = [region, logits, weights]
        for d, (axis, i) in enumerate(zip(axes, index, strict=True), start=-len(axes)):
            if d != self.dim and (seen := axis.seen(i)):
                old, old_logits, old_weights = (part.narrow(d, 0, seen) for part in parts)
                old.addcmul_(old_logits, old_weights)
                parts = [part.narrow(d, seen, part.shape[d] - seen) for part in parts]
        new, new_logits, new_weights = parts
        torch.mul(new_logits, new_weights, out=new)


def _is_channels_last(logits: Tensor) -> bool:
    return not logits.is_contiguous() and nd.to_grid(logits).is_contiguous()


def _empty(
    classes: int, size: Sequence[int], *, channels_last: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    shape = (*size, classes) if channels_last else (classes, *size)
    if device.type == "cpu":  # numpy asks for huge pages: a quarter of the time at the first touch
        total = torch.from_numpy(np.empty(prod(shape) * dtype.itemsize, np.uint8)).view(dtype).view(shape)
    else:
        total = torch.empty(shape, dtype=dtype, device=device)
    return total.movedim(-1, 0) if channels_last else total
