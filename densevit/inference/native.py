"""From the network's grid back to the file's own, a few planes at a time: logits are interpolated, then reduced.

Sizes: logits (K, *S) on the network's ("working") grid, results on the native one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, prod

import torch
from torch import Tensor

from densevit.inference.interpolate import Line, brick_labels, brick_side, cut, interpolate
from densevit.inference.reduce import labels

MOST_VALUES = 2**23  # interpolated at once, as long as one plane does not have more


@dataclass(frozen=True)
class NativeGrid:
    """A grid to give results on: its voxel x lies at `scale * x + offset` (per axis) on the network's grid.

    Voxels beyond the network's grid get what lies at its border. Logits, or where it is asked for the `probabilities`
    that softmax makes of them, are linear between planes; along the axes of `nearest` those of the nearest plane are
    taken.
    """

    size: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    nearest: tuple[int, ...] = ()
    probabilities: bool = False

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.scale) == len(self.offset) or min(self.size, default=0) < 1:
            raise ValueError(f"every axis of a native grid needs a size of at least 1, scale and offset, got {self}")
        if not all(0 < s < float("inf") for s in self.scale) or not all(map(isfinite, self.offset)):
            raise ValueError(
                f"scale must be positive and offset finite on every axis, got {self.scale} and {self.offset}; "
                "for a flipped axis flip the logits first"
            )
        if not set(self.nearest) <= set(range(len(self.size))):
            raise ValueError(f"nearest must name axes, 0 to {len(self.size) - 1}, got {self.nearest}")

    @classmethod
    def same_extent(
        cls, size: Sequence[int], working_size: Sequence[int], *, nearest: Sequence[int] = ()
    ) -> "NativeGrid":
        """Both grids cover the same box with their voxels: `F.interpolate(align_corners=False)`, nnU-Net's export."""
        scale = _ratios(working_size, size, what="sizes")
        return cls(tuple(size), scale, tuple(s / 2 - 0.5 for s in scale), tuple(nearest))

    @classmethod
    def same_origin(
        cls, size: Sequence[int], *, spacing: Sequence[float], working_spacing: Sequence[float]
    ) -> "NativeGrid":
        """The centres of both grids' first voxels coincide: MONAI's `Spacing` and its inverse. Spacings in mm."""
        scale = _ratios(spacing, working_spacing, what="spacings")
        return cls(tuple(size), scale, (0.0,) * len(scale))

    def is_same(self, working_size: Sequence[int]) -> bool:
        """Whether its voxels are those of the network's grid."""
        return self.size == tuple(working_size) and set(self.scale) == {1.0} and not any(self.offset)

    def lines(self, working_size: Sequence[int]) -> list[Line]:
        """Where its voxels lie on the network's grid, along each axis."""
        steps = zip(self.size, self.scale, self.offset, working_size, strict=True)
        return [
            Line.make(n, scale=scale, offset=offset, size=size, nearest=axis in self.nearest)
            for axis, (n, scale, offset, size) in enumerate(steps)
        ]


def _ratios(numerators: Sequence[float], denominators: Sequence[float], *, what: str) -> tuple[float, ...]:
    if len(numerators) != len(denominators) or min(*numerators, *denominators, 1) <= 0:
        got = f"{tuple(numerators)} and {tuple(denominators)}"
        raise ValueError(f"expected positive {what}, as many for one grid as for the other, got {got}")
    return tuple(a / b for a, b in zip(numerators, denominators, strict=True))


class Restorer:
    """Results on a native grid, of logits that are finished plane after plane along `axis` of the working grid.

    `reduce` maps the logits (K, *chunk) of a few native planes to (*chunk) or (J, *chunk). With `reduce.labels` on a
    CPU most voxels are labelled without interpolation, to the same result (`interpolate.py`).
    """

    def __init__(
        self, native: NativeGrid, *, working_size: Sequence[int], axis: int, reduce: Callable[[Tensor], Tensor]
    ) -> None:
        if len(working_size) != len(native.size):
            raise ValueError(f"the native grid {native.size} needs as many axes as the image, {tuple(working_size)}")
        self._lines = native.lines(working_size)
        self._of_probabilities = native.probabilities
        self._axis = axis
        self._plane = prod(native.size) // native.size[axis]  # voxels
        self._reduce = reduce
        self._by_bricks = reduce is labels and prod(native.scale) <= 1  # a coarser grid is sooner interpolated
        self._side = brick_side(len(self._lines))
        self._bricks: list | None = None  # along each axis
        self._kept: Tensor | None = None  # the last plane, if the next native voxels lie between it and the next one
        self._next = 0  # native plane to be made next

    def push(self, begin: int, logits: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Take planes begin, begin + 1, ... and yield (first native plane, result) for all that are complete now.

        `logits` are (K, *S), whole but for `axis`, and come once, in order, from plane 0. Interpolation is in at least
        float32. They are read until the iterator is exhausted, which must be before the next push.
        """
        if self._of_probabilities:
            logits = logits.softmax(0)
        if self._reduce is labels:
            labels(logits.amax()[None])  # refuses NaN, which bricks do not look for
        dim, line = self._axis + 1, self._lines[self._axis]
        end = begin + logits.shape[dim]
        complete = int(torch.searchsorted(line.above, end))
        restore, most = self._choose_method(logits)
        while self._next < complete:
            first, left = self._next, complete - self._next
            stop = first + -(-left // -(-left // most))  # about as many each time, at most `most`
            low, high, part = line.part(first, stop)
            if low >= begin:
                planes = logits.narrow(dim, low - begin, high - low)
            else:  # the first of them is the one kept
                planes = torch.cat([self._kept, logits.narrow(dim, 0, high - begin)], dim)
            yield first, restore(planes, part)
            self._next = stop
        needed = complete < len(line) and line.below[complete] < end
        self._kept = logits.narrow(dim, -1, 1).clone() if needed else None

    def _choose_method(self, logits: Tensor) -> tuple[Callable[[Tensor, Line], Tensor], int]:
        """The method that makes results of such logits, and the number of native planes that it makes at once."""
        if self._by_bricks and logits.device.type == "cpu":  # many small steps: not for a GPU
            return self._brick_labels, min(max(MOST_VALUES // self._plane, 1), self._side)
        return self._reduced, max(MOST_VALUES // (len(logits) * self._plane), 1)

    def _reduced(self, logits: Tensor, along: Line) -> Tensor:
        lines = list(self._lines)
        lines[self._axis] = along
        return self._reduce(interpolate(logits, lines))

    def _brick_labels(self, logits: Tensor, along: Line) -> Tensor:
        dtype = torch.promote_types(logits.dtype, torch.float32)
        if self._bricks is None:
            self._bricks = [cut(line, self._side, dtype) for line in self._lines]
        self._bricks[self._axis] = cut(along, self._side, dtype)
        return brick_labels(logits, self._bricks)
