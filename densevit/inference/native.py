"""From the network's grid back to the file's own, a few planes at a time: logits are interpolated, then reduced.

Sizes: logits (K, *S) on the network's ("working") grid, results on the native one.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import TypeVar

import torch
from torch import Tensor

from densevit.inference.bricks import Span, brick_labels, brick_side, cut
from densevit.inference.interpolate import Line, interpolate
from densevit.inference.reduce import labels

T = TypeVar("T")
MOST_VALUES = 2**23  # interpolated at once, as long as one plane does not have more


@dataclass(frozen=True)
class NativeGrid:
    """A grid to give results on: its voxel x lies at `scale * x + offset` (per axis) on the network's grid.

    Voxels beyond the network's grid get what lies at its border.
    """

    size: tuple[int, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.size) == len(self.scale) == len(self.offset) or min(self.size, default=0) < 1:
            raise ValueError(
                "a native grid needs a size of at least 1, a scale and an offset for each axis, "
                f"got size {self.size}, scale {self.scale} and offset {self.offset}"
            )
        if not all(0 < s < float("inf") for s in self.scale) or not all(map(isfinite, self.offset)):
            raise ValueError(
                f"scale must be positive and offset finite on every axis, got {self.scale} and {self.offset}; "
                "for a flipped axis flip the logits first"
            )

    @classmethod
    def same_extent(cls, size: Sequence[int], working_size: Sequence[int]) -> "NativeGrid":
        """Both grids cover the same box with their voxels: `F.interpolate(align_corners=False)`, nnU-Net's export."""
        scale = _ratios(working_size, size, what="sizes")
        return cls(tuple(size), scale, tuple(s / 2 - 0.5 for s in scale))

    @classmethod
    def same_origin(
        cls, size: Sequence[int], *, spacing: Sequence[float], working_spacing: Sequence[float]
    ) -> "NativeGrid":
        """The centres of both grids' first voxels coincide: MONAI's `Spacing` and its inverse. Spacings in mm."""
        scale = _ratios(spacing, working_spacing, what="spacings")
        return cls(tuple(size), scale, (0.0,) * len(scale))


class Restorer:
    """Results on a native grid, of logits that are finished plane after plane along `axis` of the working grid.

    `reduce` maps the logits (K, *chunk) of a few native planes to (*chunk) or (J, *chunk). With `reduce.labels` on a
    CPU most voxels are labelled without interpolation, to the same result (`bricks.py`).
    """

    def __init__(
        self,
        native: NativeGrid,
        *,
        working_size: Sequence[int],
        axis: int,
        reduce: Callable[[Tensor], Tensor],
    ) -> None:
        rank = len(native.size)
        if len(working_size) != rank or min(working_size) < 1 or not -rank <= axis < rank:
            raise ValueError(
                f"expected a working_size of {rank} positive numbers, as the native grid has, and an axis from {-rank} "
                f"to {rank - 1}, got {tuple(working_size)} and {axis}"
            )
        steps = zip(native.size, native.scale, native.offset, working_size, strict=True)
        self._lines = [Line.make(n, scale=scale, offset=offset, size=size) for n, scale, offset, size in steps]
        self._working_size = tuple(working_size)
        self._axis = axis % rank
        self._plane = prod(native.size) // native.size[self._axis]  # voxels
        self._reduce = reduce
        self._by_bricks = reduce is labels and prod(native.scale) <= 1  # a coarser grid is sooner interpolated
        self._bricks: list[list[Span]] | None = None
        self._kept: Tensor | None = None  # the last plane, if the next native voxels lie between it and the next one
        self._end = 0  # working planes seen
        self._next = 0  # native plane to be made next

    def push(self, begin: int, logits: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Take planes begin, begin + 1, ... and yield (first native plane, result) for all that are complete now.

        `logits` are (K, *S), whole but for `axis`, of any memory layout and any precision: interpolation is in at least
        float32. They are read only until the iterator is exhausted, which must be before the next push. Planes come
        once, in order, from 0; after the last one every native plane has been yielded once, in order. ValueError for
        planes out of order, and from `reduce.labels` for NaN.
        """
        self._check(begin, logits)
        return self._restore(begin, logits)

    def _restore(self, begin: int, logits: Tensor) -> Iterator[tuple[int, Tensor]]:
        if self._reduce is labels:
            labels(logits.amax()[None])  # refuses NaN, which bricks do not look for
        line, end = self._lines[self._axis], begin + logits.shape[self._axis + 1]
        complete = int(torch.searchsorted(line.above, end))
        restore, most = self._choose_method(logits)
        while self._next < complete:
            first, left = self._next, complete - self._next
            stop = first + -(-left // -(-left // most))  # about as many each time, at most `most`
            low, high = line.part(first, stop, begin=0).planes
            yield first, restore(self._planes(begin, logits, low, high), line.part(first, stop, begin=low))
            self._next = stop
        needed = complete < len(line) and line.below[complete] < end
        self._kept = logits.narrow(self._axis + 1, -1, 1).clone() if needed else None
        self._end = end

    def _choose_method(self, logits: Tensor) -> tuple[Callable[[Tensor, Line], Tensor], int]:
        """The method that makes results of such logits, and the number of native planes that it makes at once."""
        if self._by_bricks and logits.device.type == "cpu":  # many small steps: not for a GPU
            return self._brick_labels, min(max(MOST_VALUES // self._plane, 1), brick_side(len(self._lines)))
        return self._reduced, max(MOST_VALUES // (len(logits) * self._plane), 1)

    def _planes(self, begin: int, logits: Tensor, low: int, high: int) -> Tensor:
        """Working planes [low, high), of which the first may be the one kept."""
        if low >= begin:
            return logits.narrow(self._axis + 1, low - begin, high - low)
        return torch.cat([self._kept, logits.narrow(self._axis + 1, 0, high - begin)], self._axis + 1)

    def _reduced(self, logits: Tensor, along: Line) -> Tensor:
        return self._reduce(interpolate(logits, self._with(along, self._lines)))

    def _brick_labels(self, logits: Tensor, along: Line) -> Tensor:
        side, dtype = brick_side(len(self._lines)), torch.promote_types(logits.dtype, torch.float32)
        if self._bricks is None:
            self._bricks = [cut(line, side, dtype) for line in self._lines]
        return brick_labels(logits, self._with(cut(along, side, dtype), self._bricks))

    def _with(self, along: T, axes: Sequence[T]) -> list[T]:
        """One item for each axis: those of `axes`, but `along` for the axis of the planes."""
        return [along if d == self._axis else other for d, other in enumerate(axes)]

    def _check(self, begin: int, logits: Tensor) -> None:
        count = logits.shape[self._axis + 1] if logits.ndim == len(self._working_size) + 1 else 0
        expected = list(self._working_size)
        expected[self._axis] = count
        if not count or list(logits.shape[1:]) != expected:
            raise ValueError(
                f"expected logits (K, *S) with S as {self._working_size}, but for some planes only on axis "
                f"{self._axis}, got shape {tuple(logits.shape)}; push whole planes of the network's grid"
            )
        total = self._working_size[self._axis]
        if begin != self._end or begin + count > total:
            raise ValueError(
                f"expected planes {self._end}, {self._end + 1}, ... of {total}, got [{begin}, {begin + count}); push "
                "every plane once, in order, and exhaust each push before the next"
            )


def _ratios(numerators: Sequence[float], denominators: Sequence[float], *, what: str) -> tuple[float, ...]:
    if len(numerators) != len(denominators) or min(*numerators, *denominators, 1) <= 0:
        raise ValueError(
            f"expected positive {what}, as many for one grid as for the other, got {tuple(numerators)} "
            f"and {tuple(denominators)}"
        )
    return tuple(a / b for a, b in zip(numerators, denominators, strict=True))
