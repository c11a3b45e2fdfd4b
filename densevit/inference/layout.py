"""Where the windows of an image lie, and in which order they run.

Each axis has its own starts, and the windows are all combinations of them. They run in rows along one axis, rows in
steps, and after each step some planes of the image are final.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, prod

Index = tuple[int, ...]  # of a window, one number per axis


@dataclass(frozen=True)
class Axis:
    """The windows along one axis: window i covers [starts[i], starts[i] + roi).

    An axis shorter than the roi has one window, which begins before the axis: the rest is padding.
    """

    size: int
    roi: int
    starts: tuple[int, ...]

    def covered(self, i: int) -> slice:
        """The part of the axis that window i covers."""
        return slice(max(self.starts[i], 0), min(self.starts[i] + self.roi, self.size))

    def inside(self, i: int) -> slice:
        """The same part, counted from the window's own begin."""
        region = self.covered(i)
        return slice(region.start - self.starts[i], region.stop - self.starts[i])


def even_starts(size: int, roi: int, stride: int) -> tuple[int, ...]:
    """Evenly spaced starts, at most `stride` apart, the fewest that cover the axis."""
    if size <= roi:
        return (-((roi - size) // 2),)
    steps = -(-(size - roi) // stride)
    return tuple(round(i * (size - roi) / steps) for i in range(steps + 1))


def dense_starts(size: int, roi: int, stride: int) -> tuple[int, ...]:
    """Starts `stride` apart, the last one shifted back to end with the axis: MONAI's and mmsegmentation's grid."""
    if size <= roi:
        return (-((roi - size) // 2),)
    return (*range(0, size - roi, stride), size - roi)


def nnunet_starts(size: int, roi: int, stride: float) -> tuple[int, ...]:
    """Evenly spaced starts as nnU-Net rounds them; half of an odd roi is no whole number of pixels there."""
    if size <= roi:
        return (-((roi - size) // 2),)
    steps = ceil((size - roi) / stride)
    return tuple(round((size - roi) / steps * i) for i in range(steps + 1))


GRIDS = {"even": even_starts, "mmseg": dense_starts, "monai": dense_starts, "nnunet": nnunet_starts}


def make_axes(size: Sequence[int], roi_size: Sequence[int], stride: Sequence[float], grid: str) -> tuple[Axis, ...]:
    """The windows of an image, axis by axis.

    In mmsegmentation's grid an axis shorter than the roi shrinks the window; in the others the window is padded.
    """
    if grid == "mmseg":
        roi_size = [min(r, s) for r, s in zip(roi_size, size, strict=True)]
    starts = GRIDS[grid]
    return tuple(Axis(s, r, starts(s, r, t)) for s, r, t in zip(size, roi_size, stride, strict=True))


@dataclass(frozen=True)
class Layout:
    """All windows of an image, step by step along `axis`.

    A row is all windows that begin at one place along `axis`. A step is one or more rows, and `steps[i]` are their
    numbers. After a step no window adds to the planes before the first one of the next step: they are final.
    """

    axes: tuple[Axis, ...]
    axis: int
    steps: tuple[range, ...]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def roi_size(self) -> tuple[int, ...]:
        return tuple(axis.roi for axis in self.axes)

    @property
    def num_windows(self) -> int:
        return prod(len(axis.starts) for axis in self.axes)

    @cached_property
    def num_planes(self) -> int:
        """The most planes that one step adds to: so many have to be held."""
        return max(end - begin for begin, end in map(self.planes, range(len(self.steps))))

    @property
    def cross_section(self) -> int:
        """Voxels in a plane."""
        return prod(self.size) // self.size[self.axis]

    def covered(self, index: Index) -> tuple[slice, ...]:
        """The part of the image that a window covers."""
        return tuple(axis.covered(i) for axis, i in zip(self.axes, index, strict=True))

    def inside(self, index: Index) -> tuple[slice, ...]:
        """The part of the window that lies inside the image."""
        return tuple(axis.inside(i) for axis, i in zip(self.axes, index, strict=True))

    def row(self, row: int) -> list[Index]:
        """The index of each window of a row, the last axis fastest."""
        starts = [range(len(axis.starts)) for axis in self.axes]
        starts[self.axis] = range(row, row + 1)
        return list(product(*starts))

    def windows(self, step: int) -> list[Index]:
        """The index of each window of a step, row by row."""
        return [index for row in self.steps[step] for index in self.row(row)]

    def planes(self, step: int) -> tuple[int, int]:
        """[begin, end) of the planes that a step's windows cover."""
        rows, axis = self.steps[step], self.axes[self.axis]
        return axis.covered(rows[0]).start, axis.covered(rows[-1]).stop

    def finished(self, step: int) -> tuple[int, int]:
        """[begin, end) of the planes that are final after a step and were not before."""
        begin, end = self.planes(step)
        return begin, self.planes(step + 1)[0] if step + 1 < len(self.steps) else end


def make_layout(axes: tuple[Axis, ...], *, axis: int | None = None, stream: bool = True, windows: int = 1) -> Layout:
    """Steps of as few rows as hold `windows` windows, or one step for everything if not `stream`.

    Without a choice of `axis`, the one along which the fewest voxels have to be held; the first of equals.
    """
    if axis is not None and not -len(axes) <= axis < len(axes):
        raise ValueError(f"axis must name a spatial axis, {-len(axes)} to {len(axes) - 1}, got {axis}")
    layouts = []
    for d in range(len(axes)) if axis is None else [axis % len(axes)]:
        rows = len(axes[d].starts)
        per_row = prod(len(other.starts) for other in axes) // rows
        count = -(-windows // per_row) if stream else rows
        steps = tuple(range(first, min(first + count, rows)) for first in range(0, rows, count))
        layouts.append(Layout(axes, d, steps))
    return min(layouts, key=lambda layout: layout.num_planes * layout.cross_section)
