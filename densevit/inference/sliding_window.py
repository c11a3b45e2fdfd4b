"""Sliding-window inference over any number of spatial dimensions, with any callable as the network.

Sizes: image (C, *S), windows (B, C, *roi), logits (B, K, *roi) and (K, *S).
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from densevit.inference.batching import BatchSize, Predict
from densevit.inference.blend import PROFILES, make_blend
from densevit.inference.distributed import collect, stream_share
from densevit.inference.grid import GRIDS, make_axes
from densevit.inference.layout import Layout, make_layout
from densevit.inference.native import NativeGrid, Restorer
from densevit.inference.output import Output
from densevit.inference.reduce import REDUCTIONS, Reduce, labels, named_reduction
from densevit.inference.source import ArrayLike, Source, check_source
from densevit.inference.stream import Foreground, Work, stream
from densevit.registry import check_known

Number = TypeVar("Number", int, float)
MONAI_FLOOR = 1e-3
AUTO_WINDOWS = 4  # in a step, at least: so that larger batches can be tried
CHUNK = 2**22  # logits that are reduced at once
PADDINGS = ("replicate", "reflect")


@torch.no_grad()
def sliding_window(
    predict: Predict,
    image: Tensor | ArrayLike,
    *,
    roi_size: int | Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    stride: int | Sequence[int] | None = None,
    blend: str = "gaussian",
    grid: str = "even",
    padding: float | str = 0.0,
    batch_size: int | str = "auto",
    fixed_batch: bool = False,
    reduce: str | Reduce = "logits",
    native: NativeGrid | None = None,
    out: Any = None,
    axis: int | None = None,
    device: torch.device | str | None = None,
    window_device: torch.device | str | None = None,
    sum_dtype: torch.dtype | None = None,
    foreground: Foreground | None = None,
    non_finite: str | float = "raise",
    split: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor | Path | Any:
    """Blend overlapping windows: (C, *S) -> logits (K, *S), or labels (*S) int64 with `reduce="labels"`.

    The image is a tensor, or anything that is sliced like an array (memory map, nibabel proxy, Zarr array), which is
    read a slab at a time; without an axis of channels it has one. `predict` maps windows (B, C, *roi) on
    `window_device` (a tensor's own, otherwise the CPU) to (B, K, *roi), under the caller's autocast.

    **Windows.** `stride` is at most the roi and overrides `overlap`, a fraction of the roi; an int stands for every
    axis. `grid` spaces them evenly ("even") or exactly as those packages do ("monai", "mmseg"), for gaussian weights
    with MONAI's floor. `blend` is "gaussian" (sigma 1/8 of the roi) or "constant". `padding` fills windows larger than
    the image: a number, "replicate" or "reflect". `batch_size="auto"` measures, see `BatchSize`; `fixed_batch` keeps
    the last batch at full size too, for compiled networks. Windows (C, *roi) for which `foreground` returns False are
    not run: they add nothing, and what only they cover becomes class 0 (for labels alone).

    **Result.** `reduce` is "labels", "logits", "probabilities", "multilabel" (sigmoid above 0.5), or a function of
    logits (K, *S) voxel by voxel, see `densevit.inference.reduce`. `native` gives it on another grid, to which the
    logits are interpolated. `out` takes it plane by plane: an array, a memory map or a Zarr array is filled and
    returned, and a path to a new .npy or .zarr appears once it is complete; by default it is a new tensor.

    **Memory.** Sums are kept on `device` (default: `window_device`) in `sum_dtype` (float32; float16 and bfloat16 take
    half), for the planes along `axis` that windows still add to: K x roi x cross-section, whatever the length. `axis`
    is the one where that is least. Only logits in a new tensor are held whole. `split` shares the windows among the
    processes of torch.distributed; all of them get the result.

    Raises ValueError for options that do not fit, for logits of another shape, and for NaN or infinity in the image
    unless `non_finite` is a number to put in their place; MemoryError where one window is too much.
    `progress(done, total)` is called after every window.
    """
    size = check_source(image, roi_size)
    reduce = named_reduction(reduce)
    check_options(batch_size, blend=blend, grid=grid, padding=padding, sum_dtype=sum_dtype, non_finite=non_finite)
    _check_result(reduce, native=native, foreground=foreground, split=split, out=out)
    whole = reduce is REDUCTIONS["logits"] and out is None and native is None and not split
    windows = dict(roi_size=roi_size, overlap=overlap, stride=stride, grid=grid)
    layout = make_windows(size, **windows, axis=axis, stream=not whole, batch_size=batch_size)
    window_device = _device(window_device, image.device if isinstance(image, Tensor) else "cpu")
    device = _device(device, window_device)
    floor = MONAI_FLOOR if grid == "monai" and blend == "gaussian" else 0.0
    work = Work(
        layout,
        make_blend(layout, profile=blend, floor=floor, device=device),
        BatchSize(batch_size),
        device,
        dtype=sum_dtype,
        padding=padding,
        foreground=foreground,
        fixed=fixed_batch,
        progress=progress,
    )
    read = partial(Source, image, spatial_dims=len(size), axis=layout.axis, device=window_device, non_finite=non_finite)
    if whole:
        ((_, total),) = stream(predict, read(), work)
        return total
    with Output(out, size=native.size if native else size, device=device) as output:
        planes = stream_share(predict, read, work) if split else stream(predict, read(), work)
        results = _reduced(planes, layout, reduce, native, output)
        for place, result in collect(results, output) if split else results:
            output.write(place, result)
    return output.result


def make_windows(
    size: Sequence[int],
    *,
    roi_size: int | Sequence[int],
    overlap: float | Sequence[float] = 0.5,
    stride: int | Sequence[int] | None = None,
    grid: str = "even",
    axis: int | None = None,
    stream: bool = True,
    batch_size: int | str = "auto",
) -> Layout:
    """Where the windows lie on an image of `size` and in which order they run; arguments as of `sliding_window`."""
    roi_size = _per_axis(roi_size, len(size))
    axes = make_axes(size, roi_size, _strides(roi_size, overlap, stride, grid), grid)
    return make_layout(axes, axis=axis, stream=stream, windows=AUTO_WINDOWS if batch_size == "auto" else batch_size)


def _reduced(
    planes: Iterator[tuple[int, Tensor]], layout: Layout, reduce: Reduce, native: NativeGrid | None, output: Output
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """Finished logits -> (begin on each axis, result), on the native grid where there is one.

    Without one, they are reduced a few rows of the first axis at a time: what that takes beside its result stays small.
    """
    restorer = native and Restorer(native, working_size=layout.size, axis=layout.axis, reduce=reduce)
    for begin, logits in planes:
        output.largest = len(logits) - 1 if reduce is labels else None
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


def _per_axis(value: Number | Sequence[Number], spatial_dims: int) -> tuple[Number, ...]:
    return (value,) * spatial_dims if isinstance(value, Real) else tuple(value)


def _strides(
    roi_size: Sequence[int], overlap: float | Sequence[float], stride: int | Sequence[int] | None, grid: str
) -> tuple[int, ...]:
    if stride is None:
        overlap = _per_axis(overlap, len(roi_size))
        if len(overlap) != len(roi_size) or not all(0 <= o < 1 for o in overlap):
            shown = overlap[0] if len(set(overlap)) == 1 else overlap
            raise ValueError(f"overlap must be at least 0 and below 1, got {shown}; it is a fraction of the roi")
        lost = 0.0 if grid == "monai" else 1e-6  # 10 * (1 - 0.8) is a little less than 2, and MONAI takes 1
        return tuple(max(1, int(r * (1 - o) + lost)) for r, o in zip(roi_size, overlap, strict=True))
    stride = _per_axis(stride, len(roi_size))
    if len(stride) != len(roi_size) or any(not 1 <= s <= r for s, r in zip(stride, roi_size, strict=False)):
        raise ValueError(f"stride must be 1 to roi_size {tuple(roi_size)} on every axis, got {stride}")
    return stride


def _device(named: torch.device | str | None, default: torch.device | str) -> torch.device:
    return torch.device(default if named is None else named)


def check_options(
    batch_size: int | str,
    *,
    blend: str = "gaussian",
    grid: str,
    padding: float | str = 0.0,
    sum_dtype: torch.dtype | None = None,
    non_finite: str | float = "raise",
) -> None:
    """Raise ValueError for options of `sliding_window` that cannot be."""
    if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size must be 'auto' or at least 1 window, got {batch_size!r}")
    if isinstance(padding, str) and padding not in PADDINGS:
        raise ValueError(f"padding must be a number, 'replicate' or 'reflect', got {padding!r}")
    if non_finite != "raise" and not isinstance(non_finite, Real):
        raise ValueError(f"non_finite must be 'raise' or the number that takes their place, got {non_finite!r}")
    if sum_dtype is not None and not getattr(sum_dtype, "is_floating_point", False):
        raise ValueError(f"sum_dtype must be a floating type such as torch.float32, got {sum_dtype!r}")
    for what, name, known in (("blend", blend, PROFILES), ("grid", grid, GRIDS)):
        check_known(name, known, what=f"no {what} named")


def _check_result(
    reduce: Reduce, *, native: NativeGrid | None, foreground: Foreground | None, split: bool, out: Any
) -> None:
    if foreground is not None and reduce is not labels:
        raise ValueError("foreground leaves windows out, which only labels can do without; use reduce='labels'")
    if split and (native is not None or isinstance(out, str | Path)):
        raise ValueError(
            "split gives every process a tensor, or an array that each has opened, on the network's grid; leave out "
            "native and paths, or divide files among the processes instead"
        )
