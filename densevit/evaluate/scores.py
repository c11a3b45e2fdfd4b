"""What was measured of files -> scores under a policy, with intervals, strata and names to require them by."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isnan, nan

from densevit.evaluate.extras import Extra, extra_scores, interval_over
from densevit.evaluate.files import Measured
from densevit.evaluate.statistics import Interval
from densevit.metrics import Policy, Row, accuracy, case_table, summarize
from densevit.registry import check_known
from densevit.tables import format_table

# Columns of mmsegmentation's tables, in percent, and the metrics over all pixels of a set that they are.
OF_SETS = {"IoU": "iou", "Acc": "recall", "Dice": "dice", "Fscore": "fscore", "Precision": "precision"}
# What the terminal leaves to the files: Fscore is Dice.
ONLY_IN_FILES = ("precision", "recall", "fscore", "volume_error")


@dataclass(frozen=True)
class Scores:
    """Rows of every metric, and the `intervals` of those by case: (metric, structure or None) -> interval.

    `aAcc` is the share of all pixels that have their true class, nan where not every class was measured. `strata` maps
    a column's name to the mean of `stratum_metric` over structures in each of its strata. `extras` are scores of
    instances and of probabilities, where there are such.
    """

    policy: Policy
    rows: Sequence[Row]
    intervals: Mapping[tuple[str, str | None], Interval]
    aAcc: float
    strata: Mapping[str, Mapping[str, Interval]]
    stratum_metric: str | None
    extras: Sequence[Extra] = ()

    def names(self) -> dict[str, float]:
        """Every score by the name that a requirement calls it by: `liver.dice`, `dice` (the mean over structures), and
        in percent `road.IoU`, `mIoU`, `aAcc` over all pixels of the set; of extras `car.iiou` and `set.car.iiou`."""
        found = {"aAcc": 100 * self.aAcc}
        for row in self.rows:
            if row.level == "case":
                found[f"{row.structure}.{row.metric}" if row.structure else row.metric] = row.mean
        for column, metric in OF_SETS.items():
            for row in (row for row in self.rows if (row.level, row.metric) == ("set", metric)):
                found[f"{row.structure}.{column}" if row.structure else f"m{column}"] = 100 * row.mean
        for extra in self.extras:
            name = f"{extra.structure}.{extra.metric}" if extra.structure else extra.metric
            found |= {name: extra.mean.mean, f"set.{name}": extra.of_set}
        return found

    def percent(self) -> list[str]:
        """The names of `names` that are in percent."""
        return [name for name in self.names() if name.rpartition(".")[2].removeprefix("m") in {"aAcc", *OF_SETS}]

    def table(self) -> str:
        """Text: a line for each structure, each mean with its interval, and what the means are means of."""
        of = {(row.level, row.structure, row.metric): row for row in self.rows}
        structures = list(dict.fromkeys(row.structure for row in self.rows))
        metrics = [name for name in dict.fromkeys(metric for _, _, metric in of) if name not in ONLY_IN_FILES]
        parts = []
        if "case" in self.policy.levels:
            lines = [self._line([of["case", structure, metric] for metric in metrics]) for structure in structures]
            parts.append(f"mean over cases and its 95 % interval, policy {self.policy.name}:\n\n{format_table(lines)}")
        if "set" in self.policy.levels:
            lines = [
                {"class": structure or "mean"}
                | {column: _percent(of["set", structure, metric].mean) for column, metric in OF_SETS.items()}
                for structure in structures
            ]
            title = f"over all pixels of the set, in percent; aAcc {_percent(self.aAcc)}"
            parts.append(f"{title}:\n\n{format_table(lines)}")
        for column, found in self.strata.items():
            lines = [
                {column: name, "cases": i.cases, self.stratum_metric: _shown(i.mean, i)} for name, i in found.items()
            ]
            parts.append(f"{self.stratum_metric} by {column}:\n\n{format_table(lines)}")
        if self.extras:
            lines = [
                {"score": extra.metric, "class": extra.structure or "all", "over all pixels": _number(extra.of_set)}
                | {"mean over cases": _shown(extra.mean.mean, extra.mean), "cases": extra.mean.cases}
                for extra in self.extras
            ]
            parts.append(f"of instances and probabilities:\n\n{format_table(lines)}")
        return "\n\n".join(parts)

    def _line(self, rows: Sequence[Row]) -> dict[str, str | int]:
        cells = {row.metric: _shown(row.mean, self.intervals[row.metric, row.structure]) for row in rows}
        counts = {name: getattr(rows[0], name) for name in ("n", "found", "misplaced", "missed", "false")}
        return {"structure": rows[0].structure or "mean", **cells, **counts, "both empty": rows[0].absent}


def score(
    measured: Measured,
    policy: Policy | str = "honest",
    *,
    group: str | None = None,
    strata_of: Sequence[str] = (),
    stratum_metric: str = "dice",
) -> Scores:
    """Scores of all records under a policy; whole groups are resampled where the column `group` says whose case it is.

    ValueError where there are no records, and for a column or a metric that is not known of the cases.
    """
    if not measured.records:
        raise ValueError("no case could be scored; what is wrong with each stands above")
    summary = summarize(measured.records, policy)
    tables = {metric: case_table(measured.records, metric, policy) for metric in measured.records[0].values}
    check_known(stratum_metric, tables, what="no metric named")
    table = tables[stratum_metric]
    groups = None if group is None else {case: column_of(measured, case, group) for case in table.cases}
    intervals = {}
    for metric, each in tables.items() if "case" in table.policy.levels else ():
        for structure, values in each.rows.items():
            intervals[metric, structure] = interval_over(each, values, groups)
        intervals[metric, None] = replace(interval_over(each, each.shares(), groups), mean=each.mean())
    by_stratum = {}
    for column in strata_of:
        of = {case: column_of(measured, case, column) for case in table.cases}
        names = sorted(set(of.values()), key=str)
        parts = {name: table.among([case for case in of if of[case] == name]) for name in names}
        by_stratum[column] = {name: interval_over(part, part.shares(), groups) for name, part in parts.items()}
    try:
        share = accuracy(measured.records)
    except ValueError:
        share = nan
    extras = extra_scores(measured, table.policy, groups)
    return Scores(table.policy, summary.rows, intervals, share, by_stratum, stratum_metric, extras)


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
    return "-" if isnan(value) else f"{value:.4g}"


def _percent(value: float) -> str:
    return "-" if isnan(value) else f"{100 * value:.2f}"


def _shown(mean: float, interval: Interval) -> str:
    known = not isnan(interval.low)
    return _number(mean) + f" ({_number(interval.low)} to {_number(interval.high)})" * known
