"""Which classes a checkpoint takes for which: on the data set of a config, or as an evaluation counted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

from densevit.data import create_dataset
from densevit.data.dataset import Sample
from densevit.evaluate.confused import Matrix, read_matrix
from densevit.metrics import ConfusionMatrix
from densevit.report.sheet import Row
from densevit.runs.folder import CONFIG
from densevit.texts import read_json
from densevit.train.config import load_config
from densevit.train.score import score_checkpoint

LONGEST = 320  # pixels of the longer side of an example


def config_of(checkpoint: str | Path) -> Path:
    """The config that a run left in its folder; FileNotFoundError where there is none."""
    path = Path(checkpoint)
    for folder in (path, *path.resolve().parents)[:4]:
        if (folder / CONFIG).is_file():
            return folder / CONFIG
    raise FileNotFoundError(f"no {CONFIG} beside {checkpoint}; give a config, or the JSON of an evaluation")


def read_evaluation(path: str | Path) -> Matrix:
    """The matrix of `densevit evaluate --json`; ValueError for a file without one."""
    content = read_json(Path(path))
    if not isinstance(content, dict) or content.get("confusion") is None:
        raise ValueError(
            f"{path} holds no confusion; write it with densevit evaluate --json, of classes that do not overlap"
        )
    return read_matrix(content["confusion"], where=f"{path}: confusion")


class Confusions:
    """Counts predictions as they are made, and keeps a small picture of the worst case of each pair of classes.

    Call it with a sample and its labels (*S), as `on_prediction` of `evaluate` is.
    """

    def __init__(self, num_classes: int, *, ignore_index: int, show: Callable[[Sample, Tensor], Row]):
        self.counted = dict(num_classes=num_classes, ignore_index=ignore_index)
        self.counts = np.zeros((num_classes, num_classes), np.int64)
        self.most: dict[tuple[int, int], tuple[int, str]] = {}
        self.rows: dict[tuple[int, int], Row] = {}
        self.show = show

    def __call__(self, sample: Sample, prediction: Tensor) -> None:
        matrix = ConfusionMatrix(**self.counted)
        matrix.update(prediction, sample.label)
        counts = np.asarray(matrix.counts)
        self.counts += counts
        row = None
        for pair in zip(*np.nonzero(counts), strict=True):
            true, predicted = map(int, pair)
            if true != predicted and counts[pair] > self.most.get((true, predicted), (0, ""))[0]:
                row = row or self.show(sample, prediction)
                self.most[true, predicted] = int(counts[pair]), Path(str(sample.meta["image"])).name
                self.rows[true, predicted] = row

    def matrix(self, classes: tuple[str, ...]) -> Matrix:
        """With each pair's worst case."""
        return Matrix(classes, self.counts, {pair: case for pair, (_, case) in self.most.items()})


def confuse(
    checkpoint: str | Path, config: str | Path, *, device: str | None = None, progress: bool = True
) -> tuple[Matrix, dict[tuple[str, str], Row], dict[str, tuple[int, int, int]]]:
    """Predict the test images of a config (those of val_data where it has no test_data), and count.

    Returns the matrix, a row (image, label, prediction) for each pair of classes that was confused, and the colours of
    the classes.
    """
    checked = load_config(config)
    dataset = create_dataset((checked.test_data or checked.val_data).dataset)

    def show(sample: Sample, prediction: Tensor) -> Row:
        shown = dataset.shown(sample, prediction)
        step = -(-max(shown.label.shape) // LONGEST)
        return tuple(part[::step, ::step].copy() for part in (shown.image, shown.label, shown.prediction))

    counted = Confusions(dataset.num_classes, ignore_index=dataset.ignore_index, show=show)
    score_checkpoint(checked, checkpoint, device=device, on_prediction=counted, progress=progress)
    names = tuple(dataset.classes)
    rows = {(names[t], names[p]): row for (t, p), row in counted.rows.items()}
    return counted.matrix(names), rows, dict(zip(names, dataset.palette, strict=True))
