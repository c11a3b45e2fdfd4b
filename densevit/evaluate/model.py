"""Scores of a model on a data set: predict every image whole or by windows, count, and sum over processes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from densevit.data.dataset import Dataset, Sample
from densevit.data.stream import EvalSet
from densevit.inference import InferenceOptions
from densevit.metrics import ConfusionMatrix, MeasureOptions, Record, SegmentationScores, measure, scores_from_records
from densevit.predictor.labels import label_image
from densevit.processes import gather, rank_and_size
from densevit.workers import drawing, one_by_one

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
    None; `on_prediction(sample, labels (*S))` before it. The first `num_pictures` images are kept for looking at. Of a
    video no more is held than windows in time need: `on_prediction` gets one frame after another, image (C, 1, H, W)
    and labels (1, H, W).
    """
    rank, size = rank_and_size()
    order = range(rank, len(samples), size)
    dataset = samples.dataset
    options = InferenceOptions.read(inference).for_classes(
        dataset.classes, spatial_dims=dataset.spatial_dims, slices=dataset.slices
    )
    of_videos = getattr(dataset, "clips", None) is not None  # which data sets of one's own need not have
    counts = ConfusionMatrix(dataset.num_classes, ignore_index=dataset.ignore_index)
    take = _Taken(dataset, counts, num_pictures, on_prediction)
    was_training = model.training
    model.eval()
    try:
        with drawing(order if of_videos else one_by_one(samples, num_workers=num_workers, order=order)) as drawn:
            for done, sample in enumerate(drawn, start=1):
                if of_videos:
                    from densevit.evaluate.clips import predict_frames  # few sets are of clips

                    predict_frames(model, samples, sample, take=take, options=options, device=device)
                else:  # on the label's own grid: a volume may have been resampled, a picture never is
                    seen = dict(options=options, size=sample.label.shape, slices=dataset.slices, device=device)
                    prediction = torch.from_numpy(label_image(model, sample.image, **seen))
                    take(sample, prediction, case=order[done - 1])
                if on_image is not None and on_image(done, len(order)):
                    return None
    finally:
        model.train(was_training)
    return Evaluation(take.scores(), take.pictures)


@dataclass
class _Taken:
    """What is kept of the images that were predicted: counts, and the first `num_pictures` of them."""

    dataset: Dataset
    counts: ConfusionMatrix
    num_pictures: int
    on_prediction: Callable[[Sample, Tensor], None] | None
    records: list[Record] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)

    def __call__(self, sample: Sample, prediction: Tensor, *, case: int, is_shown: bool = True) -> None:
        dataset = self.dataset
        if dataset.has_cases:
            counted = MeasureOptions(metrics=(), ignore_index=dataset.ignore_index, include_background=True)
            self.records += measure(prediction, sample.label, dataset.classes, None, counted, case=str(case))
        else:  # of many pictures and classes the records would be many
            self.counts.update(prediction, sample.label)
        if self.on_prediction is not None:
            self.on_prediction(sample, prediction)
        if is_shown and len(self.pictures) < self.num_pictures:
            shown = dataset.shown(sample, prediction)
            step = -(-max(shown.label.shape) // 1024)  # at most 1024 pixels a side: enough for the eye
            seen = (shown.image, shown.label, shown.prediction)
            self.pictures.append(tuple(each[::step, ::step] for each in seen))

    def scores(self) -> SegmentationScores:
        """Of all processes, which all call this."""
        if self.dataset.has_cases:
            return scores_from_records([record for part in gather(self.records) for record in part], by_case=True)
        return self.counts.reduce().compute()
