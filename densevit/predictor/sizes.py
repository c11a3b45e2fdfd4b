"""Predict an image at a fixed scale of size, give the logits back at its own, and reduce them to labels."""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from densevit.blocks.nd import resize
from densevit.inference import on_whole_cells, plan_windows, predict_logits, sliding_window
from densevit.inference.views import SLIDES

logger = logging.getLogger("densevit")


@torch.inference_mode()
def predict_image(model: nn.Module, image: Tensor, *, inference: Mapping[str, Any]) -> Tensor:
    """Logits of one normalised image at its own size: (C, *S) -> (K, *S); resized to fit `base_size` on the way.

    `inference` is the section of a config: what `densevit.inference.predict_logits` takes, `base_size`, and `divisor`:
    the model sees sizes that are multiples of it, of the model's own if it is None (`Segmentor.divisor`).
    """
    options = {key: value for key, value in inference.items() if key not in ("base_size", "divisor")}
    divisor = inference.get("divisor")
    model = on_whole_cells(model, model.divisor if divisor is None else divisor)
    base_size = inference.get("base_size")
    if base_size is None:
        return predict_logits(model, image, **options)
    resized = resize(image[None], fit_size(tuple(image.shape[1:]), tuple(base_size)))[0]
    return resize(predict_logits(model, resized, **options)[None], tuple(image.shape[1:]))[0]


def streams(inference: Mapping[str, Any]) -> bool:
    """Whether labels can be made strip by strip: windows, on the picture's own grid, seen once."""
    once = not inference.get("flips") and tuple(inference.get("scales") or (1.0,)) == (1.0,)
    return once and inference.get("base_size") is None and inference.get("mode", "whole") in SLIDES


@torch.inference_mode()
def stream_labels(
    model: nn.Module,
    image: Tensor,
    *,
    inference: Mapping[str, Any],
    device: torch.device,
    max_memory: int | None = None,
) -> Tensor:
    """The labels of `predict_image` for an inference that `streams`, without ever holding all logits: (C, *S) -> (*S).

    With `max_memory` bytes a plan is made first, and logged; ValueError where nothing fits.
    """
    divisor = inference.get("divisor")
    model = on_whole_cells(model, model.divisor if divisor is None else divisor)
    options = {key: inference.get(key) for key in ("roi_size", "stride")} | SLIDES[inference["mode"]]
    options |= dict(window_device=device, batch_size=inference.get("batch_size") or 1)
    if max_memory is not None:
        planned = {key: value for key, value in options.items() if key != "blend"}
        plan = plan_windows(model, image, **planned, max_memory=max_memory)
        logger.info("%s", plan)
        options |= plan.options
    return sliding_window(model, image, **options, reduce="labels")


def fit_size(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape with long side <= the box's long one, short <= its short one; at least 1."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))
