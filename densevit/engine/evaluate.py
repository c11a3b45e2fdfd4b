"""Scores of a model on a data set: predict every image whole or by windows, count, and sum over processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from densevit.datasets.stream import EvalSet
from densevit.engine.data import outlive_signals
from densevit.engine.distributed import rank_and_size
from densevit.metrics import ConfusionMatrix
from densevit.metrics.scores import SegmentationScores
from densevit.predictor.dataset import denormalize
from densevit.predictor.sizes import predict_image, to_labels

Picture = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass
class Evaluation:
    """Scores, and pictures as (image (H, W, 3), label (H, W), prediction (H, W)), all uint8 or integer arrays."""

    scores: SegmentationScores
    pictures: list[Picture] = field(default_factory=list)


def evaluate(
    model: nn.Module,
    samples: EvalSet,
    *,
    inference: Mapping[str, Any],
    device: torch.device,
    num_workers: int = 0,
    num_pictures: int = 0,
    on_image: Callable[[int, int], bool] | None = None,
    on_prediction: Callable[[dict[str, Any], Tensor], None] | None = None,
) -> Evaluation | None:
    """Score `model` on `samples`; `inference` is a config's section.

    `on_image(done, total)` is called after each image of this process and may return True to stop: the result is then
    None; `on_prediction(sample, labels (H, W))` before it. The first `num_pictures` images are kept for looking at.
    """
    rank, size = rank_and_size()
    order = range(rank, len(samples), size)
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),  # so that the global one is left alone
        worker_init_fn=outlive_signals,
    )
    matrix = ConfusionMatrix(samples.dataset.num_classes, ignore_index=samples.dataset.ignore_index)
    pictures: list[Picture] = []
    was_training = model.training
    model.eval()
    try:
        for done, sample in enumerate(loader, start=1):
            prediction = to_labels(predict_image(model, sample["image"].to(device), inference=inference))
            matrix.update(prediction, sample["label"].to(device))
            if on_prediction is not None:
                on_prediction(sample, prediction)
            if len(pictures) < num_pictures:
                pictures.append(_picture(sample, prediction))
            if on_image is not None and on_image(done, len(order)):
                return None
    finally:
        model.train(was_training)
    matrix.reduce()
    return Evaluation(matrix.compute(), pictures)


def _picture(sample: Mapping[str, Any], prediction: Tensor) -> Picture:
    """Thinned to at most 1024 pixels a side: enough for the eye."""
    step = -(-max(prediction.shape) // 1024)
    image = denormalize(sample["image"][:, ::step, ::step])
    return image, sample["label"][::step, ::step].numpy(), prediction[::step, ::step].cpu().numpy()
