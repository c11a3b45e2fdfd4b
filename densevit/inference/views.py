"""Logits of one image, seen whole or by windows, once or several times: flipped, and at other scales.

Sizes: image (C, *S), logits (K, *S).
"""

from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from densevit.blocks import nd
from densevit.inference.batching import Predict
from densevit.inference.options import check_scales, flip_axes
from densevit.inference.sliding_window import sliding_window
from densevit.registry import check_known

# How `sliding_window` runs in the modes that have windows.
SLIDES = {
    "slide": dict(blend="constant", grid="mmseg"),
    "slide_gaussian": dict(blend="gaussian", grid="even"),
}
MODES = (*SLIDES, "whole")


def on_whole_cells(model: Predict, divisor: int | Sequence[int]) -> Predict:
    """A model that sees an image with zeros beside it, up to multiples of `divisor`; its logits are cropped back.

    A network whose coarsest stride does not divide an image has cells that reach beyond it. Decoders resize each map
    to the size of the finest, as the published ones do, and so stretch such a map over the image: what it says comes
    to lie elsewhere (docs/decisions/whole_cells.md).
    """

    def predict(x: Tensor) -> Tensor:
        padded = nd.to_image(nd.pad_to_multiple(nd.to_grid(x), divisor))
        return nd.to_image(nd.crop(nd.to_grid(model(padded)), x.shape[2:]))

    return predict


def on_views(
    predict: Predict, *, flips: Sequence[int | Sequence[int]] = (), scales: Sequence[float] = (1.0,)
) -> Predict:
    """A network that sees each window several times: the mean of its logits over flips and scales, turned back.

    (B, C, *S) -> (B, K, *S); views of one size share a forward, of (1 + number of flips) * B windows. At each of
    `scales` a window is seen as it is and once per entry of `flips`: a spatial axis, or several flipped together; -1 is
    the last one, left to right. For any `sliding_window`, streamed ones included; `predict_logits` averages
    probabilities over views of the whole image instead.
    """
    check_scales(scales)

    def see(x: Tensor) -> Tensor:
        views = [(), *(flip_axes(flip, x.ndim - 2) for flip in flips)]
        total = None
        for scale in scales:
            scaled = nd.resize(x, _scaled(x.shape[2:], scale))
            logits = predict(torch.cat([_flip(scaled, axes) for axes in views])).unflatten(0, (len(views), len(x)))
            back = sum(_flip(part, axes) for part, axes in zip(_at_least_float32(logits), views, strict=True))
            resized = nd.resize(back, x.shape[2:])
            total = resized if total is None else total.add_(resized)
        return total.div_(len(views) * len(scales))

    return see


@torch.no_grad()
def predict_logits(
    model: Predict,
    image: Tensor,
    *,
    mode: str = "whole",
    roi_size: int | Sequence[int] | None = None,
    stride: int | Sequence[int] | None = None,
    batch_size: int | str = 1,
    flips: Sequence[int | Sequence[int]] = (),
    scales: Sequence[float] = (1.0,),
) -> Tensor:
    """(C, *S) -> logits (K, *S); of several views the log of their mean probability, so that softmax gives the mean.

    `model` maps (B, C, *S) to (B, K, *S) and runs under the caller's autocast. `mode="slide"` averages the logits of
    windows of `roi_size`, `stride` apart (half of the roi by default), on mmsegmentation's grid; "slide_gaussian" has
    an even grid and trusts the middle of a window more, as is usual for volumes. At each of `scales` the image is seen
    as it is and once per entry of `flips`: a spatial axis, or several flipped together; -1 is the last one, left to
    right. `batch_size` counts views of the whole image, one for "auto", or windows.
    """
    _check(mode, roi_size, batch_size=batch_size, scales=scales)
    views = [(), *(flip_axes(flip, image.ndim - 1) for flip in flips)]
    num_views = len(views) * len(scales)
    see = partial(_see_whole, model, batch_size=1 if batch_size == "auto" else batch_size)
    if mode != "whole":
        see = partial(_slide, model, mode=mode, roi_size=roi_size, stride=stride, batch_size=batch_size)
    total = None
    for scale in scales:
        scaled = nd.resize(image[None], _scaled(image.shape[1:], scale))[0]
        outputs = see([_flip(scaled, axes) for axes in views])
        for axes, logits in zip(views, outputs, strict=True):
            logits = nd.resize(_flip(_at_least_float32(logits), axes)[None], image.shape[1:])[0]
            if num_views == 1:
                return logits
            total = _add_probability(total, logits)
    return total.div_(num_views).clamp_min_(torch.finfo(total.dtype).tiny).log_()


def _see_whole(model: Predict, views: Sequence[Tensor], *, batch_size: int) -> Iterator[Tensor]:
    """Logits (K, *S) of each view, `batch_size` views at once."""
    for first in range(0, len(views), batch_size):
        yield from model(torch.stack(views[first : first + batch_size]))


def _slide(
    model: Predict,
    views: Sequence[Tensor],
    *,
    mode: str,
    roi_size: int | Sequence[int],
    stride: int | Sequence[int] | None,
    batch_size: int | str,
) -> Iterator[Tensor]:
    """Logits (K, *S) of each view, by windows."""
    for view in views:
        yield sliding_window(model, view, roi_size=roi_size, stride=stride, batch_size=batch_size, **SLIDES[mode])


def _at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _scaled(size: Sequence[int], scale: float) -> list[int]:
    return [max(1, int(s * scale + 0.5)) for s in size]


def _flip(x: Tensor, axes: Sequence[int]) -> Tensor:
    return x.flip(axes) if axes else x


def _add_probability(total: Tensor | None, logits: Tensor) -> Tensor:
    if len(logits) < 2:
        raise ValueError(
            f"several views are averaged by softmax, which needs at least 2 classes, got {len(logits)}; "
            "train with num_classes=2 or use one view"
        )
    probability = logits.softmax(0)
    return probability if total is None else total.add_(probability)


def _check(mode: str, roi_size: int | Sequence[int] | None, *, batch_size: int | str, scales: Sequence[float]) -> None:
    check_known(mode, MODES, what="no mode named")
    if mode != "whole" and roi_size is None:
        raise ValueError(f"mode={mode!r} needs the size of its windows; give roi_size, for example (1024, 1024)")
    if batch_size != "auto" and batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    check_scales(scales)
