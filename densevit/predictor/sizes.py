"""Predict an image at a fixed scale of size, give the logits back at its own, and reduce them to labels."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from densevit.blocks.nd import resize
from densevit.inference import on_whole_cells, predict_logits


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


def to_labels(logits: Tensor) -> Tensor:
    """The likeliest class of every pixel: (K, *S) -> (*S) int64; ValueError where there is none because of NaN."""
    best, label = logits.max(0)
    if best.isnan().any():  # the largest logit is NaN as soon as one is
        raise ValueError(
            "the model's answer is not a number: numbers of mixed precision may have overflown, predict without "
            "it or with amp='bf16'; otherwise the checkpoint is bad, take an earlier one"
        )
    return label


def fit_size(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """The largest size of the same shape with long side <= the box's long one, short <= its short one; at least 1."""
    scale = min(max(box) / max(size), min(box) / min(size))
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))
