"""Measure label files against others: read each pair, compare, and keep what was measured, never the maps."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from math import nan
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from densevit.evaluate.besides import Besides, measure_besides
from densevit.evaluate.pairs import PICTURES, Pair, Pairs
from densevit.evaluate.structures import Structures, structures_of_values
from densevit.metrics import ConfusionMatrix, Counts, MeasureOptions, Record, measure
from densevit.pictures.reading import read_label
from densevit.progress import Bars
from densevit.quoting import sentence
from densevit.volumes.grid import Grid, check_same_grid, times
from densevit.volumes.paths import DICOM_ENDINGS
from densevit.volumes.volume import open_volume, read_label_volume
from densevit.workers import Workers, drawing

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Measured:
    """Records of all cases in the order of the pairs.

    `missing` are the cases without a prediction, `failed` those whose prediction could not be used, with the reason:
    both were scored as if nothing had been predicted. `unscored` are those whose truth could not be read, `unmatched`
    the predictions without a truth. `columns` says what else is known of each case. `confusion` counts voxels of all
    cases by (true, predicted) value of the files, where it was asked for, and `examples` has the most of them in one
    case, with that case. `besides` holds what was measured of files beside the label maps: of probabilities where those
    were asked for, `uncalibrated` saying why not; of instances.
    """

    records: list[Record]
    structures: Structures
    missing: list[str]
    failed: Mapping[str, str]
    unscored: Mapping[str, str]
    unmatched: list[Path]
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    confusion: Mapping[tuple[int, int], int] = field(default_factory=dict)
    examples: Mapping[tuple[int, int], tuple[int, str]] = field(default_factory=dict)
    besides: Mapping[str, Besides] = field(default_factory=dict)
    uncalibrated: Mapping[str, str] = field(default_factory=dict)


def measure_files(
    pairs: Pairs,
    structures: Structures | None = None,
    options: MeasureOptions | None = None,
    *,
    missing: str = "missed",
    with_background: bool | None = None,
    with_confusion: bool = False,
    probabilities: Mapping[str, Path] | None = None,
    num_workers: int = 0,
    progress: bool = False,
) -> Measured:
    """Compare every prediction with its truth; a record for each case and structure.

    Without `structures` each value that occurs is one, called by its number. In a case without a prediction everything
    was missed; with missing="skip" it is left out. Where a prediction cannot be read, holds values without a name, or
    lies on another grid than its truth, everything was missed in any case: else a damaged file would better a mean.
    Value 0 alone is a structure of pictures, and one of volumes with `with_background`. `probabilities` are files by
    case, for calibration.
    """
    if missing not in ("missed", "skip"):
        raise ValueError(f'missing is "missed" or "skip", got {missing!r}')
    options = options or MeasureOptions()
    chosen = [pair for pair in pairs.pairs if pair.prediction is not None or missing == "missed"]
    cases = _Cases(chosen, structures, options, with_background, with_confusion, probabilities or {})
    loader = _loader(cases, num_workers)
    found: dict[str, list[Record]] = {}
    besides: dict[str, Besides] = {}
    failed, unscored, uncalibrated, confusion = {}, {}, {}, Counter()
    examples: dict[tuple[int, int], tuple[int, str]] = {}
    with Bars(enabled=progress) as bars, drawing(loader) as drawn:
        for done, (pair, (records, fault, counted, beside)) in enumerate(zip(chosen, drawn, strict=True), start=1):
            confusion.update(counted)
            examples |= {key: max((n, pair.case), examples.get(key, (0, ""))) for key, n in counted.items()}
            if records:
                found[pair.case], besides[pair.case] = records, beside
            if probabilities is not None and beside.calibration is None:
                uncalibrated[pair.case] = beside.fault or "there are no probabilities"
                logger.error("%s: not in the calibration: %s", pair.case, uncalibrated[pair.case])
            if fault is not None:
                (failed if records else unscored)[pair.case] = fault
                logger.error("%s: %s", "scored as if nothing had been predicted" if records else "not scored", fault)
            bars.show("evaluate", done, len(chosen))
    if structures is None:
        structures = structures_of_values(int(r.structure) for records in found.values() for r in records)
    names = list(dict.fromkeys(record.structure for records in found.values() for record in records))
    names.sort(key=list(structures.labels).index)
    records = [record for records in found.values() for record in _with_absent(records, names)]
    faults = dict(missing=pairs.missing, failed=failed, unscored=unscored, uncalibrated=uncalibrated)
    counts = dict(confusion=confusion, examples=examples, besides=besides)
    return Measured(records, structures, unmatched=pairs.unmatched, columns=pairs.columns, **faults, **counts)


def _loader(cases: "_Cases", num_workers: int) -> DataLoader:
    return DataLoader(
        cases,
        batch_size=None,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),  # so that the global one is left alone
        worker_init_fn=Workers(num_workers),
    )


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
class _Cases(Dataset):
    """Index -> the records of a case, if its truth can be read, the sentence on what is wrong with a file of it, its
    confusion, where that is asked for, and what lies beside its maps."""

    pairs: Sequence[Pair]
    structures: Structures | None
    options: MeasureOptions
    with_background: bool | None
    with_confusion: bool
    probabilities: Mapping[str, Path]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[list[Record], str | None, dict[tuple[int, int], int], Besides]:
        pair = self.pairs[index]
        try:
            truth, grid = read_map(pair.truth)
            if self.structures is not None:
                self.structures.check(truth, path=pair.truth, what="label")
        except (ValueError, OSError, MemoryError) as error:
            return [], _reason(pair, error), {}, Besides()
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
        if prediction is None:
            prediction = np.full(truth.shape, _no_value(classes, structures), np.int32)
        options = replace(self.options, ignore_index=structures.ignore_index)
        truth = structures.without_ignored(truth)
        records = measure(prediction, truth, classes, grid.spacing, options, case=pair.case)
        counted = _confusion(prediction, truth, options.ignore_index) if self.with_confusion else {}
        maps = (prediction, truth, grid)
        return records, fault, counted, measure_besides(pair, maps, self.structures, self.probabilities.get(pair.case))

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


def _with_absent(records: list[Record], names: Sequence[str]) -> list[Record]:
    """A record for each name: what is neither labelled nor predicted in this case is absent."""
    there = {record.structure: record for record in records}
    like = records[0]
    total = sum(vars(like.counts).values())
    absent = replace(like, counts=Counts(0, 0, 0, total), values=dict.fromkeys(like.values, nan), lesions=())
    return [there.get(name) or replace(absent, structure=name) for name in names]
