"""What was measured of files -> scores under a policy, with intervals, strata and names to require them by."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isnan, nan

import numpy as np

from densevit.evaluate.files import Measured
from densevit.evaluate.statistics import Interval, interval_of_mean, strata
from densevit.metrics import POLICIES, Policy, Record, Row, accuracy, case_values, summarize
from densevit.registry import check_known
from densevit.tables import format_table

# Columns of mmsegmentation's tables, in percent, and the metrics over all pixels of a set that they are.
OF_SETS = {"IoU": "iou", "Acc": "recall", "Dice": "dice", "Fscore": "fscore", "Precision": "precision"}


@dataclass(frozen=True)
class Scores:
    """Rows of every metric, and the `intervals` of those by case: (metric, structure or None) -> interval.

    `aAcc` is the share of all pixels that have their true class, nan where not every class was measured. `strata` maps
    a column's name to the mean of `stratum_metric` over structures in each of its strata.
    """

    policy: Policy
    rows: Sequence[Row]
    intervals: Mapping[tuple[str, str | None], Interval]
    aAcc: float
    strata: Mapping[str, Mapping[str, Interval]]
    stratum_metric: str | None

    def names(self) -> dict[str, float]:
        """Every score by the name that a requirement calls it by: `liver.dice`, `dice` (the mean over structures), and
        in percent `road.IoU`, `mIoU`, `aAcc` over all pixels of the set."""
        found = {"aAcc": 100 * self.aAcc}
        for row in self.rows:
            if row.level == "case":
                found[f"{row.structure}.{row.metric}" if row.structure else row.metric] = row.mean
        for column, metric in OF_SETS.items():
            for row in (row for row in self.rows if (row.level, row.metric) == ("set", metric)):
                found[f"{row.structure}.{column}" if row.structure else f"m{column}"] = 100 * row.mean
        return found

    def percent(self) -> list[str]:
        """The names of `names` that are in percent."""
        return [name for name in self.names() if name.rpartition(".")[2].removeprefix("m") in {"aAcc", *OF_SETS}]

    def table(self) -> str:
        """Text: a line for each structure and metric, with intervals, and what each mean is a mean of."""
        lines = [self._line(row) for row in self.rows if row.level == "case"]
        parts = [f"by case, policy {self.policy.name}:\n\n{format_table(lines)}"] if lines else []
        sets = [row for row in self.rows if row.level == "set" and row.metric in OF_SETS.values()]
        if sets:
            parts.append(f"over all pixels of the set, in percent:\n\n{format_table(self._set_lines(sets))}")
        for column, found in self.strata.items():
            lines = [
                {column: name, "cases": each.cases, self.stratum_metric: _shown(each)} for name, each in found.items()
            ]
            parts.append(f"{self.stratum_metric} by {column}:\n\n{format_table(lines)}")
        return "\n\n".join(parts)

    def _line(self, row: Row) -> dict[str, str | int]:
        interval = self.intervals.get((row.metric, row.structure))
        return {
            "structure": row.structure or "mean",
            "metric": row.metric,
            "mean": _number(row.mean),
            "95 % interval": "" if interval is None else f"{_number(interval.low)} to {_number(interval.high)}",
            "n": row.n,
            "found": row.found,
            "misplaced": row.misplaced,
            "missed": row.missed,
            "false": row.false,
            "both empty": row.absent,
        }

    def _set_lines(self, rows: Sequence[Row]) -> list[dict[str, str]]:
        of = {(row.structure, row.metric): row.mean for row in rows}
        structures = list(dict.fromkeys(row.structure for row in rows))
        lines = [
            {"class": structure or "mean"}
            | {name: f"{100 * of[structure, metric]:.2f}" for name, metric in OF_SETS.items()}
            for structure in structures
        ]
        return [*lines, {"class": "aAcc"} | dict.fromkeys(OF_SETS, "") | {"Acc": f"{100 * self.aAcc:.2f}"}]


def score(
    measured: Measured,
    policy: Policy | str = "honest",
    *,
    group: str | None = None,
    strata_of: Sequence[str] = (),
    stratum_metric: str = "dice",
) -> Scores:
    """Scores of all records under a policy; whole groups are resampled where the column `group` says whose case it is.

    Raises ValueError where there are no records, KeyError for a column that is not known of the cases.
    """
    if not measured.records:
        raise ValueError("no case could be scored; what is wrong with each stands above")
    policy = POLICIES[policy] if isinstance(policy, str) else policy
    summary = summarize(measured.records, policy)
    cases = list(dict.fromkeys(record.case for record in measured.records))
    groups = None if group is None else [column_of(measured, case, group) for case in cases]
    tables = {
        metric: values_by_structure(measured.records, cases, metric, policy) for metric in measured.records[0].values
    }
    check_known(stratum_metric, tables, what="no metric named")
    intervals = {}
    if "case" in policy.levels:
        for metric, table in tables.items():
            for structure, values in table.items():
                intervals[metric, structure] = interval_of_mean(values, groups)
            intervals[metric, None] = interval_of_mean(_of_the_mean(table), groups)
    by_stratum = {
        column: strata(
            _of_the_mean(tables[stratum_metric]), [column_of(measured, case, column) for case in cases], groups
        )
        for column in strata_of
    }
    try:
        share = accuracy(measured.records)
    except ValueError:
        share = nan
    return Scores(policy, summary.rows, intervals, share, by_stratum, stratum_metric)


def values_by_structure(
    records: Sequence[Record], cases: Sequence[str], metric: str, policy: Policy | str
) -> dict[str, np.ndarray]:
    """Structure -> (N,) what each case counts for, nan where it counts nowhere."""
    place = {case: i for i, case in enumerate(cases)}
    found: dict[str, np.ndarray] = {}
    for record, value in zip(records, case_values(records, metric, policy), strict=True):
        found.setdefault(record.structure, np.full(len(cases), nan))[place[record.case]] = value
    return found


def _of_the_mean(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) whose mean is the mean over structures of their means over cases, and whose spread is that mean's.

    A structure's cases without a value have no influence on it, the others the more (the linearised mean).
    """
    columns = [values for values in table.values() if not np.isnan(values).all()]
    if not columns:
        return np.full(len(next(iter(table.values()))), nan)
    means = [np.nanmean(values) for values in columns]
    influence = [
        np.nan_to_num(values - mean) * len(values) / np.count_nonzero(~np.isnan(values))
        for values, mean in zip(columns, means, strict=True)
    ]
    return np.mean(means) + np.mean(influence, axis=0)


def column_of(measured: Measured, case: str, column: str) -> Hashable:
    """What a manifest or a table says of a case in one of its columns; ValueError where it says nothing."""
    known = measured.columns.get(case, {})
    if column not in known:
        raise ValueError(
            f"nothing is known of a column {column!r} for the case {case}; there are {', '.join(known) or 'none'}; "
            "give a table that has it with --table"
        )
    return known[column]


def _number(value: float) -> str:
    return "-" if isnan(value) else "inf" if value == inf else f"{value:.4g}"


def _shown(interval: Interval) -> str:
    return f"{_number(interval.mean)} ({_number(interval.low)} to {_number(interval.high)})"
