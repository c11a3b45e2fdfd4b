"""Scores as files: our JSON, a CSV by case and structure, nnU-Net's summary.json, and mmsegmentation's table."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from densevit.evaluate.comparison import Comparison, Ranking
from densevit.evaluate.confused import matrix_of
from densevit.evaluate.files import Measured
from densevit.evaluate.pairs import Pair
from densevit.evaluate.scores import Scores
from densevit.metrics import POLICIES, MeasureOptions, Record, summarize
from densevit.quoting import csv_cell
from densevit.tables import format_table

SCHEMA, VERSION = "densevit.evaluation", 1


def as_json(
    measured: Measured,
    scores: Scores,
    options: MeasureOptions,
    *,
    comparisons: Sequence[Comparison] = (),
    ranking: Ranking | None = None,
    others: Mapping[str, Measured] | None = None,
) -> dict[str, Any]:
    """All there is to know of an evaluation, ready for `json`: fractions and mm, null where there is no value."""
    matrix = matrix_of(measured)
    return _plain(
        {
            "schema": SCHEMA,
            "version": VERSION,
            "policy": scores.policy.name,
            "options": asdict(options),
            "structures": dict(measured.structures.labels),
            "ignored_values": measured.structures.ignored,
            "means": [_row(scores, row) for row in scores.rows],
            "aAcc": scores.aAcc,
            "extras": list(scores.extras),
            "strata": scores.strata,
            **_faults(measured),
            "against": {model: _faults(other) for model, other in (others or {}).items()},
            "comparisons": [asdict(each) for each in comparisons],
            "ranking": None if ranking is None else asdict(ranking),
            "confusion": None if matrix is None else matrix.as_dict(),
            "cases": [_case(record) for record in measured.records],
        }
    )


def as_csv(records: Sequence[Record]) -> str:
    """A line for each case and structure."""
    parts = [(line.pop("counts"), line.pop("values"), line) for line in map(_case, records)]
    lines = [line | counts | values for counts, values, line in parts]
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: csv_cell(value) for key, value in line.items()} for line in lines)
    return text.getvalue()


def as_nnunet(measured: Measured, pairs: Sequence[Pair]) -> dict[str, Any]:
    """nnU-Net's summary.json: its definitions, whatever the policy of the run; nan is null, as its loader takes it."""
    files = {pair.case: pair for pair in pairs}
    policy = POLICIES["nnunet"]
    names = {name: _key(values) for name, values in measured.structures.labels.items()}
    by_case: dict[str, dict[str, dict[str, float]]] = {}
    for record in measured.records:
        by_case.setdefault(record.case, {})[names[record.structure]] = _nnunet(record)
    summary = summarize(measured.records, policy)
    structures = list(dict.fromkeys(record.structure for record in measured.records))
    cases = list(by_case.values())
    mean = {}
    for structure in structures:
        key = names[structure]
        counts = {field: sum(case[key][field] for case in cases) / len(cases) for field in COUNTED}
        scores = {field: summary.row(metric, structure).mean for field, metric in (("Dice", "dice"), ("IoU", "iou"))}
        mean[key] = scores | counts
    labels = [scores for key, scores in mean.items() if key != "0"] or list(mean.values())
    foreground = {field: sum(each[field] for each in labels) / len(labels) for field in ("Dice", "IoU", *COUNTED)}
    return _plain(
        {
            "foreground_mean": foreground,
            "mean": mean,
            "metric_per_case": [
                {
                    "metrics": metrics,
                    "prediction_file": str(files[case].prediction or ""),
                    "reference_file": str(files[case].truth),
                }
                for case, metrics in by_case.items()
            ],
        }
    )


COUNTED = ("FP", "TP", "FN", "TN", "n_pred", "n_ref")


def as_mmseg(records: Sequence[Record]) -> str:
    """mmsegmentation's two tables, in percent: IoU and accuracy of each class, and their means, by its definitions."""
    summary = summarize(records, POLICIES["mmseg"])
    structures = list(dict.fromkeys(record.structure for record in records))
    columns = {"IoU": "iou", "Acc": "recall"}

    def percent(metric: str, structure: str | None) -> str:
        return f"{100 * summary.row(metric, structure, level='set').mean:.2f}"

    lines = [{"Class": name} | {c: percent(m, name) for c, m in columns.items()} for name in structures]
    means = {f"m{column}": percent(metric, None) for column, metric in columns.items()}
    per_class, total = (format_table(each, style="framed") for each in (lines, [means]))
    return f"per class results:\n\n{per_class}\n\nSummary:\n\n{total}"


def _faults(measured: Measured) -> dict[str, Any]:
    return {
        "missing": measured.missing,
        "failed": dict(measured.failed),
        "unscored": dict(measured.unscored),
        "unmatched": [str(path) for path in measured.unmatched],
        "uncalibrated": dict(measured.uncalibrated),
    }


def _row(scores: Scores, row: Any) -> dict[str, Any]:
    interval = scores.intervals.get((row.metric, row.structure)) if row.level == "case" else None
    return asdict(row) | {"interval": None if interval is None else asdict(interval)}


def _case(record: Record) -> dict[str, Any]:
    predicted, true = record.volumes
    return {
        "case": record.case,
        "structure": record.structure,
        "status": record.status,
        "predicted_volume": predicted,
        "true_volume": true,
        "volume_difference": record.volume_difference,
        "counts": asdict(record.counts),
        "values": dict(record.values),
    }


def _nnunet(record: Record) -> dict[str, float]:
    c = record.counts
    counts = {"FP": c.fp, "TP": c.tp, "FN": c.fn, "TN": c.tn, "n_pred": c.tp + c.fp, "n_ref": c.tp + c.fn}
    return {"Dice": record.values["dice"], "IoU": record.values["iou"], **counts}


def _key(values: tuple[int, ...]) -> str:
    """As nnU-Net writes a label, or a region."""
    return str(values[0]) if len(values) == 1 else str(values)


def _plain(value: Any) -> Any:
    """Without numbers that JSON does not know, and with words for keys."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "__dataclass_fields__"):
        return _plain(asdict(value))
    return None if isinstance(value, float) and not isfinite(value) else value
