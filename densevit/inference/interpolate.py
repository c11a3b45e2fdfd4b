"""Linear interpolation between grids with parallel axes: one axis after another, whatever their number.

Sizes: logits (K, *S), the same at other voxels (K, *N).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST = 1e38  # takes the place of infinity: differences of two such numbers are still finite in float32


@dataclass(frozen=True)
class Line:
    """Where N voxels lie along one axis of another grid: `weight` of the way from plane `below` to plane `above`.

    All are (N,) and ascend; `below` and `above` are equal where a voxel lies on a plane.
    """

    below: Tensor
    above: Tensor
    weight: Tensor

    @classmethod
    def make(cls, length: int, *, scale: float, offset: float, size: int) -> "Line":
        """Voxel x lies at `scale * x + offset` on an axis of `size` planes, or at its nearest end."""
        place = (torch.arange(length, dtype=torch.float64) * scale + offset).clamp(0, size - 1)
        below = place.floor()
        return cls(below.long(), place.ceil().long(), place - below)

    def __len__(self) -> int:
        return len(self.weight)

    @property
    def planes(self) -> tuple[int, int]:
        """[begin, end) of the planes that the voxels lie between."""
        return int(self.below[0]), int(self.above[-1]) + 1

    def part(self, first: int, stop: int, *, begin: int) -> "Line":
        """The voxels [first, stop) only, their planes counted from `begin`."""
        voxels = slice(first, stop)
        return Line(self.below[voxels] - begin, self.above[voxels] - begin, self.weight[voxels])

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """(N, planes): what each plane, counted from 0, gives to each voxel; rows sum to 1."""
        matrix = self.weight.new_zeros(len(self), self.planes[1])
        matrix.scatter_add_(1, self.below[:, None], 1 - self.weight[:, None])
        return matrix.scatter_add_(1, self.above[:, None], self.weight[:, None]).to(dtype)


def interpolate(logits: Tensor, lines: Sequence[Line]) -> Tensor:
    """(K, *S) -> (K, *N) in at least float32, N the lengths of the lines."""
    x = as_finite(logits)
    growth = [len(line) / size for line, size in zip(lines, x.shape[1:], strict=True)]
    for d in sorted(range(len(lines)), key=growth.__getitem__):  # last the axis that grows most: the least work
        x = _along(x, lines[d], d + 1)
    return x


def contract(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """The same as a matrix product along each axis: (K, *S) and (N_d, S_d) for each d -> (K, *N).

    It also multiplies with zeros, and is still the fastest way for bricks of some ten voxels a side.
    """
    first, *others = matrices
    classes = len(x)
    for matrix in reversed(others):  # to the front goes what was last: (K, D, H, W) -> (W', K, D, H) -> (H', W', K, D)
        x = matrix @ x.reshape(-1, matrix.shape[1]).t()
    x = first @ x.reshape(-1, classes, first.shape[1]).permute(1, 2, 0)  # (K, D', H' * W')
    return x.reshape(classes, *(len(matrix) for matrix in matrices))


def as_finite(x: Tensor) -> Tensor:
    """At least float32, with a large number in place of infinity, because infinity times a weight of 0 is NaN."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-LARGEST, LARGEST)


def _along(x: Tensor, line: Line, dim: int) -> Tensor:
    below = x.index_select(dim, line.below.to(x.device))
    if not line.weight.any():
        return below
    weight = line.weight.to(x.device, x.dtype).view(-1, *[1] * (x.ndim - 1 - dim))
    return below.lerp_(x.index_select(dim, line.above.to(x.device)), weight)
