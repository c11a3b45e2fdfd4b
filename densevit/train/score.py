"""Score a checkpoint on a config's test images."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from densevit.checkpoint import find_weights
from densevit.data import Sample
from densevit.evaluate.evaluate import evaluate
from densevit.metrics.scores import SegmentationScores
from densevit.processes import process_group, rank_and_size
from densevit.progress import Bars
from densevit.train.config.config import check_config
from densevit.train.config.schema import ConfigFile
from densevit.train.data import open_samples
from densevit.train.tasks.segment import create_model
from densevit.weights import load_weights


@dataclass(frozen=True)
class TestResult:
    """Scores with the names that make them readable: `.scores.table(classes)`, `.scores.as_dict(classes)`."""

    scores: SegmentationScores
    classes: tuple[str, ...]
    palette: list[tuple[int, int, int]]
    num_images: int


def score_checkpoint(
    config: ConfigFile | Config | Mapping[str, Any],
    checkpoint: str | Path,
    *,
    launcher: str = "none",
    device: str | None = None,
    on_prediction: Callable[[Sample, Tensor], None] | None = None,
    progress: bool = True,
) -> TestResult:
    """Score the weights in `checkpoint`, a file, its folder or a run's, on `test_data`, else on `val_data`.

    Predicts as the config's `inference` says; with a launcher each process takes its share and all get the result.
    `on_prediction(sample, labels (H, W))` is called for each image of this process.
    """
    config = check_config(config)
    section = "test_data" if config.test_data is not None else "val_data"
    with process_group(launcher, device) as chosen, Bars(enabled=progress and rank_and_size()[0] == 0) as shown:
        samples = open_samples(config, section)
        model = create_model(config.model, trained=True)
        load_weights(model, find_weights(checkpoint))

        def on_image(done: int, total: int) -> bool:
            shown.show("test", done, total)
            return False

        evaluation = evaluate(
            model.to(chosen),
            samples,
            inference=vars(config.inference),
            device=chosen,
            num_workers=getattr(config, section).num_workers,
            on_image=on_image,
            on_prediction=on_prediction,
        )
    dataset = samples.dataset
    return TestResult(evaluation.scores, tuple(dataset.classes), dataset.palette, len(dataset))


test = score_checkpoint  # the name beside `train`; a function called test_... or test would be taken for a test
