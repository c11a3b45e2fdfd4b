"""Sliding-window inference over any number of spatial dimensions, with any callable as the network.

Sizes: image (C, *S), windows (B, C, *roi), logits (B, K, *roi) and (K, *S).
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.blend import PROFILES, Blend, make_blend
from densevit.inference.grid import GRIDS, Axis, all_windows, covered, inside, make_axes
from densevit.registry import hint

Predict = Callable[[Tensor], Tensor]
REDUCTIONS = ("labels", "logits")
MONAI_FLOOR = 1e-3


@torch.no_grad()
def sliding_window(
    predict: Predict,
    image: Tensor,
    *,
    roi_size: int | Sequence[int],
    overlap: float = 0.5,
    stride: int | Sequence[int] | None = None,
    batch_size: int | str = "auto",
    blend: str = "gaussian",
    grid: str = "even",
    reduce: str = "logits",
    device: torch.device | str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Blend overlapping windows: (C, *S) -> logits (K, *S), or labels (*S) int64 with `reduce="labels"`.

    `predict` maps (B, C, *roi) on the image's device to (B, K, *roi); it runs under the caller's autocast.
    `stride` is at most the roi and overrides `overlap`, a fraction of the roi; an int stands for every axis.
    `grid="monai"` and `grid="mmseg"` place and weigh the windows exactly as those packages do. The sum is kept on
    `device`, the image's own by default, so a volume larger than the GPU still works. `batch_size="auto"` is 1 on a
    CPU and 4 elsewhere; `progress(done, total)` is called after every batch.
    """
    roi_size = _per_axis(roi_size, image.ndim - 1)
    _check_image(image, roi_size)
    _check_options(batch_size, blend=blend, grid=grid, reduce=reduce)
    axes = make_axes(image.shape[1:], roi_size, _strides(roi_size, overlap, stride), grid)
    device = image.device if device is None else torch.device(device)
    floor = MONAI_FLOOR if grid == "monai" and blend == "gaussian" else 0.0
    weigh = make_blend(axes, profile=blend, floor=floor, device=device)
    windows = all_windows(axes)
    step = batch_size if isinstance(batch_size, int) else 1 if image.device.type == "cpu" else 4
    total = None
    for first in range(0, len(windows), step):
        chunk = windows[first : first + step]
        batch = torch.stack([_cut(image, axes, index) for index in chunk])
        logits = _check_logits(predict(batch), batch, total).to(device)
        total = _empty(logits, axes) if total is None else total
        for index, window in zip(chunk, logits, strict=True):
            _add(total, window, axes, index, weigh)
        if progress is not None:
            progress(first + len(chunk), len(windows))
    return total if reduce == "logits" else total.argmax(0)


def _cut(image: Tensor, axes: Sequence[Axis], index: tuple[int, ...]) -> Tensor:
    """One window: (C, *S) -> (C, *roi), zeros where it reaches beyond the image."""
    window = image[(slice(None), *covered(axes, index))]
    if window.shape[1:] == tuple(axis.roi for axis in axes):
        return window
    padding = [(part.start, axis.roi - part.stop) for axis, part in zip(axes, inside(axes, index), strict=True)]
    return F.pad(window, [p for before_after in reversed(padding) for p in before_after])


def _empty(logits: Tensor, axes: Sequence[Axis]) -> Tensor:
    """The sum over windows, not yet written: (B, K, *roi) -> (K, *S) in at least float32.

    Its memory is laid out as the logits' (channels last or first): adding windows, and argmax, are then several times
    faster.
    """
    options = dict(dtype=torch.promote_types(logits.dtype, torch.float32), device=logits.device)
    classes, size = logits.shape[1], [axis.size for axis in axes]
    if not logits.is_contiguous() and nd.to_grid(logits).is_contiguous():
        return torch.empty(*size, classes, **options).movedim(-1, 0)
    return torch.empty(classes, *size, **options)


def _add(total: Tensor, logits: Tensor, axes: Sequence[Axis], index: tuple[int, ...], weigh: Blend) -> None:
    """Add one window's logits (K, *roi) into its part of the sum, which is written, not added to, at the first visit.

    The windows come with the last axis fastest, so a pixel is new to this one exactly where it is new on every axis.
    """
    region = total[(slice(None), *covered(axes, index))]
    parts = [region, logits[(slice(None), *inside(axes, index))], weigh(index)]
    for d, (axis, i) in enumerate(zip(axes, index, strict=True), start=-len(axes)):
        if seen := axis.seen(i):  # 2D: first the rows that others wrote, then, of the remaining rows, such columns
            old_region, old_logits, old_weights = (part.narrow(d, 0, seen) for part in parts)
            old_region.addcmul_(old_logits, old_weights)
            parts = [part.narrow(d, seen, part.shape[d] - seen) for part in parts]
    new_region, new_logits, new_weights = parts
    torch.mul(new_logits, new_weights, out=new_region)


def _per_axis(value: int | Sequence[int], spatial_dims: int) -> tuple[int, ...]:
    return (value,) * spatial_dims if isinstance(value, int) else tuple(value)


def _strides(roi_size: Sequence[int], overlap: float, stride: int | Sequence[int] | None) -> tuple[int, ...]:
    if stride is None:
        if not 0 <= overlap < 1:
            raise ValueError(f"overlap must be at least 0 and below 1, got {overlap}; it is a fraction of the roi")
        return tuple(max(1, int(r * (1 - overlap))) for r in roi_size)
    stride = _per_axis(stride, len(roi_size))
    if len(stride) != len(roi_size) or any(not 1 <= s <= r for s, r in zip(stride, roi_size, strict=False)):
        raise ValueError(f"stride must be 1 to roi_size {tuple(roi_size)} on every axis, got {stride}")
    return stride


def _check_image(image: Tensor, roi_size: Sequence[int]) -> None:
    if image.ndim != len(roi_size) + 1 or image.numel() == 0 or min(roi_size, default=0) < 1:
        raise ValueError(
            "expected an image (C, *S) without empty axes and one roi_size of at least 1 per axis of S, "
            f"got shape {tuple(image.shape)} and roi_size {tuple(roi_size)}"
        )


def _check_options(batch_size: int | str, *, blend: str, grid: str, reduce: str) -> None:
    if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
        raise ValueError(f"batch_size must be 'auto' or at least 1 window, got {batch_size!r}")
    for what, name, known in (("blend", blend, PROFILES), ("grid", grid, GRIDS), ("reduce", reduce, REDUCTIONS)):
        if name not in known:
            raise ValueError(f"no {what} named {name!r}; {hint(str(name), list(known))}")


def _check_logits(logits: Tensor, batch: Tensor, total: Tensor | None) -> Tensor:
    if not isinstance(logits, Tensor):
        raise ValueError(f"predict must return one tensor of logits, got a {type(logits).__name__}; pick them from it")
    if logits.ndim != batch.ndim or logits.shape[:1] + logits.shape[2:] != batch.shape[:1] + batch.shape[2:]:
        raise ValueError(
            f"predict must keep batch and size: for windows {tuple(batch.shape)} it returned {tuple(logits.shape)}; "
            "resize its logits to the window"
        )
    if total is not None and logits.shape[1] != len(total):
        raise ValueError(f"predict returned {logits.shape[1]} classes after {len(total)}; every window needs the same")
    return logits
