"""Records of a data set -> means under a policy, and beside each what it is a mean of."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from math import isnan, nan
from operator import add

import numpy as np

from densevit.metrics.means import CaseTable, case_table, find_policy
from densevit.metrics.policies import Policy
from densevit.metrics.records import FROM_COUNTS, Counts, Record, kind_of


@dataclass(frozen=True)
class Row:
    """A mean over `n` values of one structure, or over structures where `structure` is None.

    Level `case` is a mean of each case's own score, level `set` the score of all voxels of all cases counted together.
    The cases are `found`, `misplaced` (no voxel in common), `missed`, `false` or `absent` (empty in both).
    """

    structure: str | None
    metric: str
    level: str
    mean: float
    n: int
    found: int
    misplaced: int
    missed: int
    false: int
    absent: int


@dataclass(frozen=True)
class Summary:
    """Rows of every metric: those of each structure, then that of the mean over structures."""

    policy: str
    rows: tuple[Row, ...]

    def row(self, metric: str, structure: str | None = None, *, level: str = "case") -> Row:
        """The row of a metric; without a structure that of the mean."""
        found = [row for row in self.rows if (row.metric, row.structure, row.level) == (metric, structure, level)]
        if not found:
            known = sorted({f"{row.metric} by {row.level}" for row in self.rows})
            raise KeyError(f"no {metric} by {level} of {structure or 'the mean'}; there are {', '.join(known)}")
        return found[0]

    def table(self) -> str:
        """A text table, one line a row."""
        from densevit.tables import format_table  # which imports rich

        lines = [
            {"structure": row.structure or "mean", "metric": row.metric, "by": row.level, "mean": f"{row.mean:.4f}"}
            | {name: getattr(row, name) for name in ("n", "found", "misplaced", "missed", "false")}
            | {"both empty": row.absent}
            for row in self.rows
        ]
        return format_table(lines, style="framed")


def summarize(records: Sequence[Record], policy: Policy | str = "honest") -> Summary:
    """Means of all metrics that the records have, under a policy of `POLICIES` or one of your own."""
    policy = find_policy(policy)
    _check(records)
    by_structure: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_structure[record.structure].append(record)
    rows = []
    for metric in records[0].values if records else ():
        if "case" in policy.levels:
            rows += _case_rows(by_structure, case_table(records, metric, policy), metric)
        if "set" in policy.levels and metric in FROM_COUNTS:
            rows += _set_rows(by_structure, metric, policy)
    return Summary(policy.name, tuple(rows))


def accuracy(records: Sequence[Record]) -> float:
    """Share of all voxels that have their true class (aAcc): the records must hold every class, the background too."""
    counts = [record.counts for record in records]
    total = sum({record.case: record.counts.total for record in records}.values())
    if sum(c.tp + c.fn for c in counts) != total:
        raise ValueError("accuracy needs every class once; measure with include_background=True and without regions")
    return sum(c.tp for c in counts) / total if total else nan


@dataclass(frozen=True)
class Detection:
    """Structures found or not, over cases; a prediction elsewhere is a miss and a false alarm."""

    found: int
    missed: int
    false: int

    @property
    def sensitivity(self) -> float:
        return _share(self.found, self.missed)

    @property
    def precision(self) -> float:
        return _share(self.found, self.false)

    @property
    def f1(self) -> float:
        return _share(2 * self.found, self.missed + self.false)


def detection(records: Iterable[Record], *, min_iou: float = 0.0) -> dict[str, Detection]:
    """Of each structure, in how many cases it was found with an IoU above `min_iou`."""
    tallies: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for record in records:
        counts, tally = record.counts, tallies[record.structure]
        found = counts.tp > 0 and counts.values()["iou"] > min_iou
        tally[0] += found
        tally[1] += counts.tp + counts.fn > 0 and not found
        tally[2] += counts.tp + counts.fp > 0 and not found
    return {structure: Detection(*tally) for structure, tally in tallies.items()}


def _check(records: Sequence[Record]) -> None:
    """Nothing may vanish from a mean: every case has each structure once, with the same metrics."""
    keys = Counter((record.case, record.structure) for record in records)
    for (case, structure), n in keys.items():
        if n > 1:
            raise ValueError(f"case {case!r} has {n} records of {structure}; measure(..., case=NAME) tells cases apart")
    cases, structures = {case for case, _ in keys}, {structure for _, structure in keys}
    lacking = sorted({(case, structure) for case in cases for structure in structures} - set(keys))
    if lacking:
        case, structure = lacking[0]
        raise ValueError(f"case {case!r} has no record of {structure}; measure all cases with the same classes")
    if len({tuple(record.values) for record in records}) > 1:
        raise ValueError("the records have different metrics; measure all cases with the same options")


def _case_rows(by_structure: dict[str, list[Record]], table: CaseTable, metric: str) -> list[Row]:
    rows = []
    for structure, mean in table.by_structure().items():
        n = int(np.count_nonzero(~np.isnan(table.rows[structure])))
        rows.append(Row(structure, metric, "case", mean, n, **_statuses(by_structure[structure])))
    return [*rows, _total(rows, table.mean())]


def _set_rows(by_structure: dict[str, list[Record]], metric: str, policy: Policy) -> list[Row]:
    rows = []
    for structure, records in by_structure.items():
        counts = reduce(add, (record.counts for record in records), Counts(0, 0, 0, 0))
        value = policy.fill(counts.values()[metric], counts.status, kind_of(metric))
        n = 0 if isnan(value) else sum(record.status != "absent" for record in records)
        rows.append(Row(structure, metric, "set", value, n, **_statuses(records)))
    return [*rows, _total(rows, policy.mean_over_structures([row.mean for row in rows]))]


def _total(rows: list[Row], mean: float) -> Row:
    names = ("n", "found", "misplaced", "missed", "false", "absent")
    return Row(None, rows[0].metric, rows[0].level, mean, **{n: sum(getattr(row, n) for row in rows) for n in names})


def _statuses(records: Sequence[Record]) -> dict[str, int]:
    counted = Counter(record.status for record in records)
    return {name: counted[name] for name in ("found", "misplaced", "missed", "false", "absent")}


def _share(part: int, rest: int) -> float:
    return part / (part + rest) if part + rest else nan
