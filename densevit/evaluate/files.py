"""Measure label files against others: read each pair, compare, and keep what was measured, never the maps."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import nan
from pathlib import Path

from densevit.evaluate.besides import Besides
from densevit.evaluate.cases import NOTHING, Cases
from densevit.evaluate.pairs import Pairs
from densevit.evaluate.structures import Structures, structures_of_values
from densevit.labels import IGNORE
from densevit.metrics import Counts, MeasureOptions, Record
from densevit.progress import Bars
from densevit.workers import drawing, one_by_one

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
    cases = Cases(chosen, structures, options, with_background, with_confusion, probabilities or {})
    found: dict[str, list[Record]] = {}
    besides: dict[str, Besides] = {}
    failed, unscored, uncalibrated, confusion, hidden = {}, {}, {}, Counter(), False
    examples: dict[tuple[int, int], tuple[int, str]] = {}
    with Bars(enabled=progress) as bars, drawing(one_by_one(cases, num_workers=num_workers)) as drawn:
        for done, (pair, seen) in enumerate(zip(chosen, drawn, strict=True), start=1):
            confusion.update(seen.confusion)
            examples |= {key: max((n, pair.case), examples.get(key, (0, ""))) for key, n in seen.confusion.items()}
            hidden |= seen.hidden
            if seen.records:
                found[pair.case], besides[pair.case] = seen.records, seen.besides
            if probabilities is not None and seen.besides.calibration is None:
                uncalibrated[pair.case] = seen.besides.fault or "there are no probabilities"
                logger.error("%s: not in the calibration: %s", pair.case, uncalibrated[pair.case])
            if seen.fault is not None:
                (failed if seen.records else unscored)[pair.case] = seen.fault
                fate = "scored as if nothing had been predicted" if seen.records else "not scored"
                logger.error("%s: %s", fate, seen.fault)
            bars.show("evaluate", done, len(chosen))
    records = [record for records in found.values() for record in records]
    structures = structures or _found_structures(records)
    if hidden:
        _check_masks(records, structures)
    there = {record.structure for record in records}
    names = [name for name in structures.labels if name in there]
    records = [record for records in found.values() for record in _with_absent(records, names)]
    faults = dict(missing=pairs.missing, failed=failed, unscored=unscored, uncalibrated=uncalibrated)
    counts = dict(confusion=confusion, examples=examples, besides=besides)
    return Measured(records, structures, unmatched=pairs.unmatched, columns=pairs.columns, **faults, **counts)


def _found_structures(records: Sequence[Record]) -> Structures:
    """Those that are labelled or predicted anywhere, called by their values; `NOTHING` where there are none."""
    there = [record.structure for record in records if record.status != "absent"] or [NOTHING] * bool(records)
    return structures_of_values(map(int, there))


def _check_masks(records: Sequence[Record], structures: Structures) -> None:
    """ValueError where labels of at most two classes, of which some is ignored as 255, hold nothing else than 0."""
    names = {name for name, values in structures.labels.items() if values != (0,)}
    labelled = any(r.structure in names and r.counts.tp + r.counts.fn for r in records)
    if len(structures.labels) <= 2 and structures.ignored == (IGNORE,) and not labelled:
        raise ValueError(
            "the labels hold nothing but 0 and 255, and 255 is ignored unless it is a class; name it with --classes "
            f'and a .json file such as {{"background": 0, "object": {IGNORE}}}'
        )


def _with_absent(records: list[Record], names: Sequence[str]) -> list[Record]:
    """A record for each name: what is neither labelled nor predicted in this case is absent."""
    there = {record.structure: record for record in records}
    like = records[0]
    total = sum(vars(like.counts).values())
    absent = replace(like, counts=Counts(0, 0, 0, total), values=dict.fromkeys(like.values, nan), lesions=())
    return [there.get(name) or replace(absent, structure=name) for name in names]
