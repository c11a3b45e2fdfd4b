"""Linear interpolation between grids with parallel axes, and the labels of interpolated logits.

Most labels need no interpolation. The grid is cut into bricks: what interpolation gives inside a brick lies, class by
class, between the smallest and the largest logit at the brick's own points. So a class whose largest is below another's
smallest wins nowhere in the brick. Inside an organ one class is left and the brick is filled with it; at a border two
or three are interpolated.

Sizes: logits (K, *S), the same at other voxels (K, *N), their labels (*N).
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

LARGEST = 1e38  # takes the place of infinity: differences of two such numbers are still finite in float32
VOXELS = 2**14  # in a brick, about: smaller ones cost more steps, larger ones hold more classes and leave the cache


@dataclass(frozen=True)
class Line:
    """Where N voxels lie along one axis of another grid: `weight` of the way from plane `below` to plane `above`.

    All are (N,) and ascend; `below` and `above` are equal where a voxel lies on a plane.
    """

    below: Tensor
    above: Tensor
    weight: Tensor

    @classmethod
    def make(cls, length: int, *, scale: float, offset: float, size: int, nearest: bool = False) -> "Line":
        """Voxel x lies at `scale * x + offset` on an axis of `size` planes, or at its nearest end.

        With `nearest` it takes the nearest plane alone, of two the upper one.
        """
        x = torch.arange(length, dtype=torch.float64)
        if nearest:
            # From the middles of voxels, as scipy and nnU-Net count: rounding decides between two planes as there.
            place = (scale * (x + 0.5) - 0.5 + (offset - (scale / 2 - 0.5))).clamp(0, size - 1)
            plane = (place + 0.5).floor().long()
            return cls(plane, plane, torch.zeros_like(x))
        place = (x * scale + offset).clamp(0, size - 1)
        below = place.floor()
        return cls(below.long(), place.ceil().long(), place - below)

    def __len__(self) -> int:
        return len(self.weight)

    def part(self, first: int, stop: int) -> tuple[int, int, "Line"]:
        """[begin, end) of the planes that voxels [first, stop) lie between, and their own line, counted from begin."""
        voxels = slice(first, stop)
        begin, end = int(self.below[first]), int(self.above[stop - 1]) + 1
        return begin, end, Line(self.below[voxels] - begin, self.above[voxels] - begin, self.weight[voxels])

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """(N, planes): what each plane, counted from 0, gives to each voxel; rows sum to 1."""
        matrix = self.weight.new_zeros(len(self), int(self.above[-1]) + 1)
        matrix.scatter_add_(1, self.below[:, None], 1 - self.weight[:, None])
        return matrix.scatter_add_(1, self.above[:, None], self.weight[:, None]).to(dtype)


def interpolate(logits: Tensor, lines: Sequence[Line]) -> Tensor:
    """(K, *S) -> (K, *N) in at least float32, N the lengths of the lines."""
    x = _as_finite(logits)
    growth = [len(line) / size for line, size in zip(lines, x.shape[1:], strict=True)]
    for d in sorted(range(len(lines)), key=growth.__getitem__):  # last the axis that grows most: the least work
        x = _along(x, lines[d], d + 1)
    return x


def _along(x: Tensor, line: Line, dim: int) -> Tensor:
    below = x.index_select(dim, line.below.to(x.device))
    if not line.weight.any():
        return below
    weight = line.weight.to(x.device, x.dtype).view(-1, *[1] * (x.ndim - 1 - dim))
    return below.lerp_(x.index_select(dim, line.above.to(x.device)), weight)


def _as_finite(x: Tensor) -> Tensor:
    """At least float32, with a large number in place of infinity, because infinity times a weight of 0 is NaN."""
    return x.to(torch.promote_types(x.dtype, torch.float32)).clamp(-LARGEST, LARGEST)


@dataclass(frozen=True)
class Span:
    """A brick along one axis: its voxels [first, stop), the planes that they lie between, and their weights."""

    voxels: slice
    planes: slice
    matrix: Tensor


def brick_side(rank: int) -> int:
    """Voxels along each axis of a brick."""
    return round(VOXELS ** (1 / rank))


def cut(line: Line, side: int, dtype: torch.dtype) -> list[Span]:
    """Bricks of equal length along one axis, at most `side` voxels each."""
    count = -(-len(line) // side)
    spans = []
    for first, stop in pairwise(i * len(line) // count for i in range(count + 1)):
        begin, end, part = line.part(first, stop)
        spans.append(Span(slice(first, stop), slice(begin, end), part.matrix(dtype)))
    return spans


def brick_labels(logits: Tensor, bricks: Sequence[Sequence[Span]]) -> Tensor:
    """The class with the largest interpolated logit, the first of equals: (K, *S) -> (*N) int64.

    `bricks` are those along each axis. The logits must be free of NaN.
    """
    floor, surest = _extremes(logits, bricks, torch.amin).max(0)  # (*bricks), as many as there are along each axis
    possible = _extremes(logits, bricks, torch.amax) >= floor  # (K, *bricks)
    labels = surest.contiguous()
    for d, spans in reversed(list(enumerate(bricks))):  # the last axis first: then whole rows are repeated
        labels = labels.repeat_interleave(torch.tensor([len(span.matrix) for span in spans]), d)
    with one_thread(), torch.autocast("cpu", enabled=False):  # the caller's autocast is for the network
        for place in (possible.sum(0) > 1).nonzero().tolist():
            spans = [along[i] for along, i in zip(bricks, place, strict=True)]
            classes = possible[(slice(None), *place)].nonzero().flatten()
            corners = logits[(slice(None), *(span.planes for span in spans))].index_select(0, classes)
            values = _contract(_as_finite(corners), [span.matrix for span in spans])
            labels[tuple(span.voxels for span in spans)] = _first_largest(values, classes)
    return labels


def _extremes(logits: Tensor, bricks: Sequence[Sequence[Span]], extreme: Callable[..., Tensor]) -> Tensor:
    """The smallest or largest logit that each brick's voxels are made of: (K, *S) -> (K, *bricks)."""
    order = sorted(range(logits.ndim), key=logits.stride, reverse=True)  # torch is slow on axes in another order
    x = logits.permute(order)
    for d, spans in enumerate(bricks, start=1):
        axis = order.index(d)
        parts = [extreme(x[(slice(None),) * axis + (span.planes,)], axis) for span in spans]
        x = torch.stack(parts, axis)
    return x.permute([order.index(d) for d in range(logits.ndim)])


def _contract(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """The same as `interpolate` by a matrix product along each axis: (K, *S) and (N_d, S_d) for each d -> (K, *N).

    It also multiplies with zeros, and is still the fastest way for bricks of some ten voxels a side.
    """
    first, *others = matrices
    classes = len(x)
    for matrix in reversed(others):  # to the front goes what was last: (K, D, H, W) -> (W', K, D, H) -> (H', W', K, D)
        x = matrix @ x.reshape(-1, matrix.shape[1]).t()
    x = first @ x.reshape(-1, classes, first.shape[1]).permute(1, 2, 0)  # (K, D', H' * W')
    return x.reshape(classes, *(len(matrix) for matrix in matrices))


def _first_largest(values: Tensor, classes: Tensor) -> Tensor:
    """The class of the largest value, the first of equals: (k, *N) and ascending (k,) -> (*N); overwrites the values.

    The same as `classes[values.argmax(0)]`, but several times faster on a CPU: every step is a plain sweep.
    """
    last = classes[-1]
    rank = (last - classes + 1).view(-1, *[1] * (values.ndim - 1))  # the earlier the larger, and never 0
    return last + 1 - values.eq_(values.amax(0)).mul_(rank).amax(0)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block, torch's operations on the CPU use one thread, in the Python thread that runs it alone.

    It is for many small operations, in which threads wait for one another longer than the work takes.
    `torch.set_num_threads` would reach other Python threads too; OpenMP and MKL have a number for each, which is set
    here, on Linux alone.
    """
    library, before = _torch_library(), torch.get_num_threads()  # asking also settles the number of a new thread
    if library is None or before == 1:
        yield
        return
    set_mkl = getattr(library, "MKL_Set_Num_Threads_Local", lambda _: None)  # not all processors have MKL
    mkl_before = set_mkl(1)
    library.omp_set_num_threads(1)
    try:
        yield
    finally:
        library.omp_set_num_threads(before)
        set_mkl(mkl_before)


@cache
def _torch_library() -> ctypes.CDLL | None:
    """torch's own library, through which its OpenMP is found too."""
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    library = ctypes.CDLL(str(path)) if path.is_file() else None
    return library if hasattr(library, "omp_set_num_threads") else None
