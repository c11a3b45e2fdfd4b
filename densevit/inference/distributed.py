"""One image on several devices: each process runs its share of the rows of windows, and neighbours exchange the seam.

Legend: a seam is the planes that windows of two processes add to; the earlier process sends what it has of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
import torch.distributed as dist
from torch import Tensor

from densevit.inference.batching import Predict
from densevit.inference.layout import Index, Layout
from densevit.inference.output import Output
from densevit.inference.source import Source
from densevit.inference.stream import Work, stream
from densevit.processes import gather, rank_and_size

Planes = tuple[int, Tensor]
Block = tuple[tuple[int, ...], Tensor]  # where it begins, (*S) or (J, *S)


def stream_share(predict: Predict, source: Source, work: Work) -> Iterator[Planes]:
    """Like `stream`, for the planes that this process finishes; together the processes give every plane once.

    The first planes of a share wait for the previous process; all others are given as soon as they are final.
    """
    layout, axis = work.layout, work.layout.axes[work.layout.axis]
    rank, size = rank_and_size()
    size = min(size, len(axis.starts))
    if rank >= size:
        return
    rows = [share(layout, r, size) for r in range(size)]
    begin = axis.covered(rows[rank][0]).start
    head_end = max(begin, axis.covered(rows[rank - 1][-1]).stop) if rank else begin
    tail_begin = axis.covered(rows[rank + 1][0]).start if rank + 1 < size else axis.size
    held: list[Planes] = []
    for first, logits in stream(predict, source, _restricted(work, rows[rank])):
        for part, planes in _split(first, logits, layout.axis, [head_end, tail_begin]):
            if head_end <= part < tail_begin:
                yield part, planes
            else:
                held.append((part, planes.clone()))
    if head_end > begin:
        _receive(held, begin, head_end, layout, source=rank - 1)
    yield from ((first, planes) for first, planes in held if first < tail_begin)
    if tail_begin < axis.covered(rows[rank][-1]).stop:
        tail = [planes for first, planes in held if first >= tail_begin]
        dist.send(torch.cat(tail, layout.axis + 1).contiguous(), rank + 1)


def share(layout: Layout, rank: int, size: int) -> range:
    """The rows of windows that process `rank` of `size` runs: neighbouring rows, about as many for every process."""
    rows = len(layout.axes[layout.axis].starts)
    return range(rows * rank // size, rows * (rank + 1) // size)


def collect(results: Iterator[Block], output: Output) -> Iterator[Block]:
    """Every process's blocks of the result on every process, one after the other."""
    device = output.device
    own = [(place, block.to(device, copy=True)) for place, block in results]
    kinds = gather((output.largest, [(place, tuple(block.shape), block.dtype) for place, block in own]))
    output.largest = max((largest for largest, _ in kinds if largest is not None), default=None)
    for rank, (_, theirs) in enumerate(kinds):
        for i, (place, shape, dtype) in enumerate(theirs):
            ours = rank == dist.get_rank()
            block = own[i][1].contiguous() if ours else torch.empty(shape, dtype=dtype, device=device)
            dist.broadcast(block, rank)
            yield place, block


def _restricted(work: Work, rows: range) -> Work:
    """The same work for these rows alone, numbered from 0. Weights stay those of all rows together."""
    layout, d = work.layout, work.layout.axis
    axes = list(layout.axes)
    axes[d] = replace(axes[d], starts=axes[d].starts[rows.start : rows.stop])
    step = len(layout.steps[0])
    steps = tuple(range(first, min(first + step, len(rows))) for first in range(0, len(rows), step))

    def weigh(index: Index) -> Tensor:
        return work.weigh((*index[:d], index[d] + rows.start, *index[d + 1 :]))

    return replace(work, layout=Layout(tuple(axes), d, steps), weigh=weigh)


def _split(first: int, logits: Tensor, axis: int, at: Sequence[int]) -> Iterator[Planes]:
    """Cut (K, *S), which begins at plane `first`, so that no part lies on both sides of one of the planes `at`."""
    end = first + logits.shape[axis + 1]
    cuts = sorted({first, end, *(cut for cut in at if first < cut < end)})
    for begin, stop in pairwise(cuts):
        yield begin, logits.narrow(axis + 1, begin - first, stop - begin)


def _receive(held: Sequence[Planes], begin: int, end: int, layout: Layout, *, source: int) -> None:
    """Add what the previous process has of planes [begin, end)."""
    like, dim = held[0][1], layout.axis + 1
    shape = list(like.shape)
    shape[dim] = end - begin
    theirs = torch.empty(shape, dtype=like.dtype, device=like.device)
    dist.recv(theirs, source)
    for first, planes in held:
        last = min(first + planes.shape[dim], end)
        if first < last:
            planes.narrow(dim, 0, last - first).add_(theirs.narrow(dim, first - begin, last - first))
