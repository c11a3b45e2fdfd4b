"""How nnU-Net plans its U-Nets: the stages from the size and spacing of a crop. https://doi.org/10.1038/s41592-020-01008-z

An axis is halved as long as its voxels are about as fine as the finest ones and its map stays large enough.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

SMALLEST = 4  # cells along each axis of the coarsest map
UNEVEN = 2.0  # axes whose voxels are this many times as large as the finest wait


class Stages(NamedTuple):
    """Strides and kernel sizes of each stage, the finest first: one number a spatial dimension."""

    strides: tuple[tuple[int, ...], ...]
    kernel_sizes: tuple[tuple[int, ...], ...]

    @property
    def divisor(self) -> tuple[int, ...]:
        """What sizes of images must be multiples of."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))


def plan_stages(crop_size: Sequence[int], spacing: Sequence[float]) -> Stages:
    """The stages for crops of `crop_size` voxels of `spacing` millimetres, both in the order of the array's axes."""
    size, spacing = list(crop_size), [float(s) for s in spacing]
    strides, kernels, kernel = [(1,) * len(size)], [], [1] * len(size)
    while halved := _axes_to_halve(size, spacing):
        kernel = [3 if s < UNEVEN * min(spacing) else k for k, s in zip(kernel, spacing, strict=True)]
        kernels.append(tuple(kernel))
        strides.append(tuple(2 if axis in halved else 1 for axis in range(len(size))))
        size = [-(-n // stride) for n, stride in zip(size, strides[-1], strict=True)]
        spacing = [s * stride for s, stride in zip(spacing, strides[-1], strict=True)]
    return Stages(tuple(strides), (*kernels, (3,) * len(size)))


def _axes_to_halve(size: Sequence[int], spacing: Sequence[float]) -> list[int]:
    long = [axis for axis, n in enumerate(size) if n >= 2 * SMALLEST]
    finest = min((spacing[axis] for axis in long), default=0.0)
    even = [axis for axis in long if spacing[axis] < UNEVEN * finest]
    alone = len(even) == 1 and size[even[0]] < 3 * SMALLEST  # an axis by itself must be longer
    return [] if alone else even
