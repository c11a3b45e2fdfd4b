"""Labels of interpolated logits where most logits need no interpolation, and the labels are the same.

The grid is cut into bricks. What linear interpolation gives inside a brick lies, class by class, between the smallest
and the largest logit at the brick's own points. So a class whose largest is below another's smallest wins nowhere in
the brick. Inside an organ one class is left and the brick is filled with it; at a border two or three are interpolated.

Sizes: logits (K, *S), labels (*N).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from densevit.inference.interpolate import Line, as_finite, contract
from densevit.inference.threads import one_thread

VOXELS = 2**14  # in a brick, about: smaller ones cost more steps, larger ones hold more classes and leave the cache


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
    bounds = [i * len(line) // count for i in range(count + 1)]
    return [_span(line, first, stop, dtype) for first, stop in pairwise(bounds)]


def _span(line: Line, first: int, stop: int, dtype: torch.dtype) -> Span:
    begin, end = line.part(first, stop, begin=0).planes
    matrix = line.part(first, stop, begin=begin).matrix(dtype)
    return Span(slice(first, stop), slice(begin, end), matrix)


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
            values = contract(as_finite(corners), [span.matrix for span in spans])
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


def _first_largest(values: Tensor, classes: Tensor) -> Tensor:
    """The class of the largest value, the first of equals: (k, *N) and ascending (k,) -> (*N); overwrites the values.

    The same as `classes[values.argmax(0)]`, but several times faster on a CPU: every step is a plain sweep.
    """
    last = classes[-1]
    rank = (last - classes + 1).view(-1, *[1] * (values.ndim - 1))  # the earlier the larger, and never 0
    return last + 1 - values.eq_(values.amax(0)).mul_(rank).amax(0)
