"""Score a checkpoint on a config's test images."""

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.config import Config
from torch import Tensor

from densevit.checkpoint import find_weights
from densevit.data import Sample
from densevit.data.stream import EvalSet
from densevit.evaluate import evaluate
from densevit.evaluate.files import Measured
from densevit.evaluate.samples import SampleMeasurer
from densevit.inference import InferenceOptions
from densevit.labels import colorize
from densevit.metrics import MeasureOptions, SegmentationScores, TemporalScores
from densevit.processes import process_group, rank_and_size
from densevit.progress import Bars
from densevit.segmentor import Segmentor
from densevit.train.as_trained import check_as_trained
from densevit.train.config import check_config
from densevit.train.data import open_samples
from densevit.train.schema import ConfigFile
from densevit.train.tasks.segment import create_model, make_header
from densevit.weights import load_weights

if TYPE_CHECKING:
    from densevit.data.clip_set import ClipDataset
    from densevit.evaluate.clips import ClipSteadiness


@dataclass(frozen=True)
class TestResult:
    """Scores with the names that make them readable: `.scores.table(classes)`, `.scores.as_dict(classes)`.

    `measured` is what was measured of each case, where that was asked for: `densevit.evaluate.scores.score` makes means
    and intervals of it. `temporal` says of each video of a set of clips how steady its label maps are.
    """

    scores: SegmentationScores
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]
    num_images: int
    measured: Measured | None = None
    temporal: Mapping[str, TemporalScores] = field(default_factory=dict)


def score_checkpoint(
    config: ConfigFile | Config | Mapping[str, Any],
    checkpoint: str | Path,
    *,
    inference: InferenceOptions | None = None,
    launcher: str = "none",
    device: str | None = None,
    on_prediction: Callable[[Sample, Tensor], None] | None = None,
    options: MeasureOptions | None = None,
    progress: bool = True,
) -> TestResult:
    """Score the weights in `checkpoint`, a file, its folder or a run's, on `test_data`, else on `val_data`.

    Predicts as `inference` says, by default the config's; with a launcher each process takes its share and all get the
    result. `on_prediction(sample, labels (*S))` is called for each image of this process. With `options` each case is
    measured by itself.
    """
    config = check_config(config)
    if not isinstance(config, ConfigFile):
        raise ValueError(f"the config trains the task {config.task!r}, and label maps are scored of 'segment' alone")
    section = "test_data" if config.test_data is not None else "val_data"
    with process_group(launcher, device) as chosen, Bars(enabled=progress and rank_and_size()[0] == 0) as shown:
        samples, model = _open(config, section, checkpoint)
        measurer = None if options is None else SampleMeasurer(samples.dataset, options)
        steadiness = None if getattr(samples.dataset, "clips", None) is None else _steadiness_of(samples.dataset)
        callbacks = [each for each in (measurer, steadiness, on_prediction) if each is not None]
        evaluation = evaluate(
            model.to(chosen),
            samples,
            inference=vars(inference or config.inference),
            device=chosen,
            num_workers=getattr(config, section).num_workers,
            on_image=partial(shown.show, "test"),
            on_prediction=lambda *predicted: [each(*predicted) for each in callbacks],
        )
        measured = None if measurer is None else measurer.measured()
        temporal = {} if steadiness is None else steadiness.measured()
    dataset = samples.dataset
    return TestResult(evaluation.scores, tuple(dataset.classes), dataset.palette, len(dataset), measured, temporal)


def _steadiness_of(dataset: "ClipDataset") -> "ClipSteadiness":
    from densevit.evaluate.clips import ClipSteadiness  # few sets are of clips

    return ClipSteadiness(dataset)


def show_predictions(
    config: ConfigFile,
    checkpoint: str | Path,
    *,
    count: int,
    device: str | None = None,
    progress: bool = True,
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Image, truth and prediction, in colours (H, W, 3) uint8, of so many images spread over `val_data`, by names.

    Predicts as `score_checkpoint` does, with the weights of a run's folder the best ones.
    """
    with process_group("none", device) as chosen, Bars(enabled=progress) as shown:
        samples, model = _open(config, "val_data", checkpoint)
        few, cases = copy(samples.dataset), samples.dataset.cases
        few.cases = [cases[int(i)] for i in np.unique(np.linspace(0, len(cases) - 1, min(count, len(cases))).round())]
        found = evaluate(
            model.to(chosen),
            EvalSet(few),
            inference=vars(config.inference),
            device=chosen,
            num_pictures=count,
            on_image=partial(shown.show, "predict"),
        )
    color = partial(colorize, palette=few.palette, ignore_index=few.ignore_index)
    short = [Path(name).name for name in few.names]
    names = short if len(set(short)) == len(short) else few.names
    return {
        name: (image, color(label), color(prediction))
        for name, (image, label, prediction) in zip(names, found.pictures, strict=True)
    }


def _open(config: ConfigFile, section: str, checkpoint: str | Path) -> tuple[EvalSet, Segmentor]:
    """The images of a section, and the model of the config with the weights of a checkpoint."""
    samples = open_samples(config, section)
    model = create_model(config.model, trained=True)
    weights = find_weights(checkpoint)
    load_weights(model, weights)
    check_as_trained(weights, make_header(config, samples.dataset))
    return samples, model
