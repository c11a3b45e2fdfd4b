"""The sums of windows' logits for the planes that windows still add to; a finished plane's memory is used again."""

from collections.abc import Iterator

import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.grid import inside
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
        dtype = dtype or torch.promote_types(like.dtype, torch.float32)
        classes, options = like.shape[1], dict(dtype=dtype, device=device)
        channels_last = not like.is_contiguous() and nd.to_grid(like).is_contiguous()
        self.total = (
            torch.zeros(*size, classes, **options).movedim(-1, 0)
            if channels_last
            else torch.zeros(classes, *size, **options)
        )

    def add(self, logits: Tensor, index: tuple[int, ...], weights: Tensor) -> None:
        """Add one window's logits (K, *roi), weighted by (*S_window), the part of it that lies inside the image."""
        axes = self.layout.axes
        logits = logits[(slice(None), *inside(axes, index))]
        region = [axis.covered(i) for axis, i in zip(axes, index, strict=True)]
        planes = region[self.layout.axis]
        for first, count, place in self._runs(planes.start, planes.stop):
            region[self.layout.axis] = slice(place, place + count)
            total = self.total[(slice(None), *region)]
            parts = [x.narrow(self.dim, first - planes.start, count) for x in (logits, weights)]
            if total.dtype == torch.promote_types(logits.dtype, weights.dtype):
                total.addcmul_(*parts)
            else:  # mixed types are slow in one operation
                total.add_(torch.mul(*parts).to(total.dtype))

    def planes(self, begin: int, end: int) -> Iterator[tuple[int, Tensor]]:
        """(first plane, sums (K, *S)) of the one or two runs that [begin, end) lies in, views of the ring."""
        for first, count, place in self._runs(begin, end):
            yield first, self.total.narrow(self.dim, place, count)

    def _runs(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """(first plane, number of planes, place of the first) of each run of neighbours that [begin, end) lies in."""
        while begin < end:
            place = begin % self.length
            count = min(end - begin, self.length - place)
            yield begin, count, place
            begin += count
