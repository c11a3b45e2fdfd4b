"""Scores of a model on a data set: predict every image whole or by windows, count, and sum over processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from densevit.data.dataset import Dataset, Sample, Shown
from densevit.data.stream import EvalSet
from densevit.inference import InferenceOptions
from densevit.metrics import CaseDice, ConfusionMatrix
from densevit.metrics.scores import SegmentationScores
from densevit.predictor.labels import label_image
from densevit.processes import gather, rank_and_size
from densevit.workers import Workers, drawing

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
    on_prediction: Callable[[Sample, Tensor], None] | None = None,
) -> Evaluation | None:
    """Score `model` on `samples`; `inference` is a config's section.

    `on_image(done, total)` is called after each image of this process and may return True to stop: the result is then
    None; `on_prediction(sample, labels (*S))` before it. The first `num_pictures` images are kept for looking at.
    """
    rank, size = rank_and_size()
    order = range(rank, len(samples), size)
    loader = DataLoader(
        samples,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),  # so that the global one is left alone
        worker_init_fn=Workers(num_workers),
    )
    dataset = samples.dataset
    options = InferenceOptions.read(inference).for_classes(
        dataset.classes, spatial_dims=dataset.spatial_dims, slices=dataset.slices
    )
    counter = _Counter(samples)
    pictures: list[Picture] = []
    was_training = model.training
    model.eval()
    try:
        with drawing(loader) as drawn:
            for done, sample in enumerate(drawn, start=1):
                prediction = _predict(model, sample, samples.dataset, options=options, device=device)
                counter.update(prediction, sample.label.to(prediction.device))
                if on_prediction is not None:
                    on_prediction(sample, prediction)
                if len(pictures) < num_pictures:
                    pictures.append(_thinned(samples.dataset.shown(sample, prediction)))
                if on_image is not None and on_image(done, len(order)):
                    return None
    finally:
        model.train(was_training)
    return Evaluation(counter.compute(), pictures)


def _predict(
    model: nn.Module, sample: Sample, dataset: Dataset, *, options: InferenceOptions, device: torch.device
) -> Tensor:
    """Labels (*S) on the label's own grid: a volume may have been resampled, a picture never is."""
    size, slices = sample.label.shape, dataset.slices
    label = label_image(model, sample.image, options=options, size=size, slices=slices, device=device)
    return torch.from_numpy(label)


class _Counter:
    """Pixels over the whole set; where there are cases also the Dice of each."""

    def __init__(self, samples: EvalSet):
        options = dict(num_classes=samples.dataset.num_classes, ignore_index=samples.dataset.ignore_index)
        self.matrix = ConfusionMatrix(**options)
        self.cases = CaseDice(**options) if samples.dataset.has_cases else None

    def update(self, prediction: Tensor, label: Tensor) -> None:
        self.matrix.update(prediction, label)
        if self.cases is not None:
            self.cases.update(prediction, label)

    def compute(self) -> SegmentationScores:
        """Scores over all processes, which must all call this."""
        scores = self.matrix.reduce().compute()
        if self.cases is None:
            return scores
        self.cases.rows = [row for rows in gather(self.cases.rows) for row in rows]
        return replace(scores, case_dice=self.cases.compute())


def _thinned(shown: Shown) -> Picture:
    """At most 1024 pixels a side: enough for the eye."""
    step = -(-max(shown.label.shape) // 1024)
    return shown.image[::step, ::step], shown.label[::step, ::step], shown.prediction[::step, ::step]
