"""Where the windows lie: each axis has its own starts, and the windows are all combinations of them."""

from collections.abc import Sequence
from dataclasses import dataclass


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


GRIDS = {"even": even_starts, "mmseg": dense_starts, "monai": dense_starts}


def make_axes(size: Sequence[int], roi_size: Sequence[int], stride: Sequence[int], grid: str) -> list[Axis]:
    """The windows of an image, axis by axis.

    In mmsegmentation's grid an axis shorter than the roi shrinks the window; in the others the window is padded.
    """
    if grid == "mmseg":
        roi_size = [min(r, s) for r, s in zip(roi_size, size, strict=True)]
    starts = GRIDS[grid]
    return [Axis(s, r, starts(s, r, t)) for s, r, t in zip(size, roi_size, stride, strict=True)]


def covered(axes: Sequence[Axis], index: Sequence[int]) -> tuple[slice, ...]:
    """The part of the image that a window covers."""
    return tuple(axis.covered(i) for axis, i in zip(axes, index, strict=True))


def inside(axes: Sequence[Axis], index: Sequence[int]) -> tuple[slice, ...]:
    """The part of the window that lies inside the image."""
    return tuple(axis.inside(i) for axis, i in zip(axes, index, strict=True))
