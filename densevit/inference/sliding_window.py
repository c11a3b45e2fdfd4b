"""Sliding-window inference over any number of spatial dimensions, with any callable as the network.

Sizes: image (C, *S), windows (B, C, *roi), logits (B, K, *roi) and (K, *S).
"""

from collections.abc import Callable, Iterator
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from densevit.inference.batching import BatchSize, Predict
from densevit.inference.distributed import collect, stream_share
from densevit.inference.layout import Layout
from densevit.inference.native import NativeGrid, Restorer
from densevit.inference.output import Output
from densevit.inference.reduce import REDUCTIONS, Reduce, labels, named_reduction, regions
from densevit.inference.source import ArrayLike, Source, check_source
from densevit.inference.stream import Foreground, Work, stream
from densevit.inference.windows import Keywords, Placement, Windows, grouped, make_blend
from densevit.processes import in_group

if TYPE_CHECKING:
    from typing_extensions import Unpack

CHUNK = 2**22  # logits that are reduced at once


@torch.no_grad()
def sliding_window(
    predict: Predict,
    image: Tensor | ArrayLike,
    *,
    windows: Windows | None = None,
    placement: Placement | None = None,
    reduce: str | Reduce = "logits",
    native: NativeGrid | None = None,
    out: Any = None,
    foreground: Foreground | None = None,
    non_finite: str | float = "raise",
    progress: Callable[[int, int], None] | None = None,
    **keywords: "Unpack[Keywords]",
) -> Tensor | Path | Any:
    """Blend overlapping windows: (C, *S) -> logits (K, *S), or labels (*S) int64 with `reduce="labels"`.

    The image is a tensor, or anything that is sliced like an array (memory map, nibabel proxy, Zarr array), which is
    read a slab at a time; without an axis of channels it has one. `predict` maps windows (B, C, *roi) to (B, K, *roi),
    under the caller's autocast. What `Windows` and `Placement` hold is also taken by its own name, and then counts
    before theirs: `sliding_window(model, image, roi_size=512, overlap=0.25, device="cpu")`.

    `reduce` is "labels", "logits", "probabilities", "multilabel" (sigmoid above 0.5), or a function of logits (K, *S)
    voxel by voxel, see `densevit.inference.reduce`. `native` gives the result on another grid, to which the logits are
    interpolated. `out` takes it plane by plane: an array, a memory map or a Zarr array is filled and returned, and a
    path to a new .npy or .zarr appears once it is complete; by default it is a new tensor. Only logits in a new tensor
    are held whole. Windows (C, *roi) for which `foreground` returns False are not run: they add nothing, and what only
    they cover becomes class 0 (for labels alone). `progress(done, total)` is called after every window.

    Raises ValueError for options that do not fit, for logits of another shape, and for NaN or infinity in the image
    unless `non_finite` is a number to put in their place; MemoryError where one window is too much.
    """
    windows, placement = grouped(windows, placement, keywords)
    size = check_source(image, windows.roi_size)
    reduce = named_reduction(reduce)
    if non_finite != "raise" and not isinstance(non_finite, Real):
        raise ValueError(f"non_finite must be 'raise' or the number that takes their place, got {non_finite!r}")
    if foreground is not None and reduce is not labels:
        raise ValueError("foreground leaves windows out, which only labels can do without; use reduce='labels'")
    if placement.split:
        _check_split(native, out)
    whole = reduce is REDUCTIONS["logits"] and out is None and native is None and not placement.split
    layout = windows.layout(size, axis=placement.axis, stream=not whole)
    window_device, device = placement.devices(image)
    weigh = make_blend(layout, profile=windows.blend, floor=windows.least_weight, device=device)
    batch = BatchSize(windows.batch_size, fixed=windows.fixed_batch)
    work = Work(layout, weigh, batch, device, placement.sum_dtype, windows.padding, foreground, progress)
    source = Source(image, len(size), axis=layout.axis, device=window_device, non_finite=non_finite)
    if whole:
        ((_, total),) = stream(predict, source, work)
        return total
    with Output(out, size=native.size if native else size, device=device) as output:
        planes = (stream_share if placement.split else stream)(predict, source, work)
        results = _reduced(planes, layout, reduce, native, output)
        for place, result in collect(results, output) if placement.split else results:
            output.write(place, result)
    return output.result


def _reduced(
    planes: Iterator[tuple[int, Tensor]], layout: Layout, reduce: Reduce, native: NativeGrid | None, output: Output
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Finished logits -> (begin on each axis, result), on the native grid where there is one.

    Without one, they are reduced a few rows of the first axis at a time: what that takes beside its result stays small.
    """
    restorer = native and Restorer(native, working_size=layout.size, axis=layout.axis, reduce=reduce)
    for begin, logits in planes:
        output.largest = len(logits) - 1 if reduce in (labels, regions) else None
        place = [0] * len(layout.size)
        place[layout.axis] = begin
        if restorer is not None:
            for place[layout.axis], result in restorer.push(begin, logits):
                yield tuple(place), result
            continue
        rows = max(1, CHUNK // logits[:, 0].numel())
        for part in logits.split(rows, 1):
            yield tuple(place), reduce(part)
            place[0] += part.shape[1]


def _check_split(native: NativeGrid | None, out: Any) -> None:
    if native is not None or isinstance(out, str | Path):
        raise ValueError(
            "split gives every process a tensor, or an array that each has opened, on the network's grid; leave out "
            "native and paths, or divide files among the processes instead"
        )
    if not in_group():
        raise ValueError("split shares windows among processes, and there is one; start with torchrun and join a group")
