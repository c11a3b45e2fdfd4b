"""One case of an evaluation: its files read, checked and compared."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from densevit.evaluate.besides import Besides, measure_besides
from densevit.evaluate.pairs import PICTURES, Pair
from densevit.evaluate.structures import Structures, structures_of_values
from densevit.labels import IGNORE
from densevit.metrics import ConfusionMatrix, MeasureOptions, Record, measure
from densevit.pictures.reading import read_label
from densevit.quoting import sentence
from densevit.volumes.grid import Grid, check_same_grid, times
from densevit.volumes.paths import DICOM_ENDINGS
from densevit.volumes.volume import open_volume, read_label_volume

NOTHING = "1"  # how the structure is called of which there is none, where nothing names one
logger = logging.getLogger("densevit")


def read_map(path: Path, *, like: Path | None = None, structures: Structures | None = None) -> tuple[np.ndarray, Grid]:
    """A label map (*S) in the file's own values, and its grid.

    A DICOM-SEG is read onto the grid of the scan or mask `like`, and its segments, which number themselves, have the
    values that `structures` gives to their names. ValueError for one without either.
    """
    if path.suffix.lower() in PICTURES:
        label = read_label(path)
        return label, Grid(label.shape)
    if path.suffix.lower() not in DICOM_ENDINGS:
        return read_label_volume(path)
    if like is None or structures is None:
        raise ValueError(
            f"{path} is DICOM: a DICOM-SEG is compared with labels of another format, by the names of its segments; "
            "give those with --classes"
        )
    from densevit.volumes.formats.dicom_seg_reading import read_dicom_seg, read_segment_names  # which bring pydicom

    volume = open_volume(like)
    values = structures.values_of(read_segment_names(path), path=path)
    return read_dicom_seg(path, like=volume, values=values).astype(np.int64), volume.grid


@dataclass(frozen=True)
class Case:
    """The `records` of a case, if its truth can be read, the sentence on what is wrong with a file of it, its
    `confusion`, where that is asked for, what lies beside its maps, and whether any of its truth is ignored as 255."""

    records: list[Record] = field(default_factory=list)
    fault: str | None = None
    confusion: Mapping[tuple[int, int], int] = field(default_factory=dict)
    besides: Besides = field(default_factory=Besides)
    hidden: bool = False


@dataclass(frozen=True)
class Cases(Dataset):
    """Index -> what was measured of a case."""

    pairs: Sequence[Pair]
    structures: Structures | None
    options: MeasureOptions
    with_background: bool | None
    with_confusion: bool
    probabilities: Mapping[str, Path]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Case:
        pair = self.pairs[index]
        try:
            truth, grid = read_map(pair.truth)
            if self.structures is not None:
                self.structures.check(truth, path=pair.truth, what="label")
        except (ValueError, OSError, MemoryError) as error:
            return Case(fault=_reason(pair, error))
        prediction, fault = None, None
        if pair.prediction is not None:
            try:
                prediction = self._read_prediction(pair, grid)
            except (ValueError, OSError, MemoryError) as error:
                fault = _reason(pair, error)
        there = [part for part in (prediction, truth) if part is not None]
        structures = self.structures or structures_of_values(int(value) for part in there for value in np.unique(part))
        background = grid.affine is None if self.with_background is None else self.with_background
        classes = {name: values for name, values in structures.labels.items() if background or values != (0,)}
        if self.structures is None and not classes:  # there is nothing, and a case all the same
            classes = {NOTHING: (int(NOTHING),)}
        if prediction is None:
            prediction = np.full(truth.shape, _no_value(classes, structures), np.int32)
        options = replace(self.options, ignore_index=structures.ignore_index)
        truth = structures.without_ignored(truth)
        records = measure(prediction, truth, classes, grid.spacing, options, case=pair.case)
        counted = _confusion(prediction, truth, options.ignore_index) if self.with_confusion else {}
        maps = (prediction, truth, grid)
        try:
            beside = measure_besides(pair, maps, self.structures, self.probabilities.get(pair.case))
        except (ValueError, OSError, MemoryError) as error:  # the instances belong to the truth
            return Case(fault=_reason(pair, error))
        return Case(records, fault, counted, beside, hidden=bool((truth == IGNORE).any()))

    def _read_prediction(self, pair: Pair, grid: Grid) -> np.ndarray:
        prediction, own = read_map(pair.prediction, like=pair.truth, structures=self.structures)
        _check_grids((str(pair.truth), grid), (str(pair.prediction), own))
        if self.structures is not None:
            self.structures.check(prediction, path=pair.prediction, what="prediction")
        return prediction


def _no_value(classes: Mapping[str, tuple[int, ...]], structures: Structures) -> int:
    """What stands for no class: 0, where that is none that is scored, else the first value that means nothing."""
    named = {structures.ignore_index, *(value for values in classes.values() for value in values)}
    return next(value for value in count() if value not in named)


def _confusion(prediction: np.ndarray, truth: np.ndarray, ignore_index: int) -> dict[tuple[int, int], int]:
    """(true, predicted) value -> voxels, of the pairs that occur."""
    matrix = ConfusionMatrix(max(2, 1 + int(max(prediction.max(), truth.max()))), ignore_index=ignore_index)
    matrix.update(prediction, truth)
    return {(t, p): int(matrix.counts[t, p]) for t, p in matrix.counts.nonzero().tolist()}


def _reason(pair: Pair, error: Exception) -> str:
    text = sentence(str(error) or type(error).__name__)
    return text if pair.case in text else f"{pair.case}: {text}"


def _check_grids(truth: tuple[str, Grid], prediction: tuple[str, Grid]) -> None:
    """ValueError, with how far off, where a prediction does not lie on the grid of its truth."""
    (truth_path, grid), (path, own) = truth, prediction
    if grid.affine is not None and own.affine is not None:
        remark = check_same_grid((truth_path, grid), (path, own), what="prediction", of="label")
        if remark is not None:
            logger.warning("%s", remark)
    elif grid.size != own.size:
        raise ValueError(
            f"the prediction {path} is {times(own.size)} and its label {truth_path} {times(grid.size)}; resize it to "
            "its label, without interpolating"
        )
