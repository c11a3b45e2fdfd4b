"""Scalars of runs over their iterations, as paths that templates draw: one panel a scalar, all runs in it.

Legend: a panel is `ACROSS` units wide and `UP` high, y grows downwards; a curve is broken where rows are missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from densevit.report.pages.charts import MODELS, Scale, round_scale
from densevit.report.plots import range_of_most, series, smooth
from densevit.runs.folder import CLASSES
from densevit.runs.run import Run

UP = 150
MOST_POINTS = 400  # of a curve; more are not seen
DASHES = ("", "7 3", "2 2", "9 3 2 3")  # of the runs that the colours do not tell apart
MISSING = 1.5  # of the usual step between rows: a longer one is a gap
PLAIN = ("lr", "lr_max", "memory_gb", "ignored_batches")  # which do not scatter


@dataclass(frozen=True)
class Line:
    """A run in words of a legend."""

    name: str
    color: str
    dash: str


@dataclass(frozen=True)
class Curve:
    """Paths of one run: `strong`, behind it `faint` of values that scatter, and `marks` (x, y, text) of validations."""

    line: Line
    strong: str
    faint: str
    marks: Sequence[tuple[float, float, str]]


@dataclass(frozen=True)
class Panel:
    """A scalar, its axes, a curve for each run that has it, and where runs were resumed: (run, x, iteration)."""

    title: str
    across: Scale
    up: Scale
    curves: Sequence[Curve]
    resumed: Sequence[tuple[str, float, int]] = ()

    def y(self, value: float) -> float:
        """Where a value stands, from 0 at the top; beyond the panel for what left it."""
        return round((1 - self.up.share(value)) * UP, 1)


def legend(runs: Sequence[Run]) -> list[Line]:
    """A colour for each run, and a dash where colours begin again."""
    kinds = len(MODELS)
    return [Line(run.name, MODELS[i % kinds], DASHES[i // kinds % len(DASHES)]) for i, run in enumerate(runs)]


def make_panels(runs: Sequence[Run]) -> tuple[list[Panel], list[Panel]]:
    """Loss, the scores by which the best weights are chosen, and learning rate; and all other scalars."""
    first = dict.fromkeys(["loss", *(run.metric for run in runs), "lr"])
    there = dict.fromkeys(key for run in runs for row in run.rows for key in row if key not in ("iter", CLASSES))
    panels = {key: _panel(key, runs) for key in [*first, *there]}
    drawn = {key: panel for key, panel in panels.items() if panel is not None}
    return [drawn[key] for key in first if key in drawn], [drawn[key] for key in drawn if key not in first]


def _panel(key: str, runs: Sequence[Run]) -> Panel | None:
    """None for a scalar of which there is no finite value."""
    found = {run.name: series(run.rows, key) for run in runs}
    values = np.concatenate([y for _, y in found.values()])
    if not values.size:
        return None
    of_validations = any(key in row for run in runs for row in run.validated)
    low, high = (values.min(), values.max()) if of_validations or key in PLAIN else range_of_most(values)
    if low == high:
        low, high = low - abs(low) / 2, high + (abs(high) or 1) / 2
    across = round_scale(0, max(max(run.iterations, run.planned or 0) for run in runs))
    empty = Panel(key, Scale(0, across.high, across.ticks), round_scale(float(low), float(high)), [])
    curves = [
        _curve(empty, line, *found[line.name], scattered=not of_validations and key not in PLAIN, marked=of_validations)
        for line in legend(runs)
        if found[line.name][0].size
    ]
    resumed = [(run.name, across.x(i), i) for run in runs for i in run.resumed if found[run.name][0].size]
    return Panel(key, empty.across, empty.up, curves, resumed)


def _curve(panel: Panel, line: Line, x: np.ndarray, y: np.ndarray, *, scattered: bool, marked: bool) -> Curve:
    strong, faint = [], []
    for part in _without_gaps(x):
        smoothed = smooth(y[part]) if scattered else y[part]
        strong.append(_path(panel, x[part], smoothed))
        if scattered:
            faint.append(_path(panel, x[part], y[part]))
    marks = []
    if marked:
        points = zip(x.tolist(), y.tolist(), strict=True)
        marks = [(panel.across.x(i), panel.y(v), f"{line.name}: {v:.2f} at {i:,.0f}") for i, v in points]
    return Curve(line, " ".join(strong), " ".join(faint), marks)


def _without_gaps(x: np.ndarray) -> Iterator[slice]:
    """Runs of rows that follow one another at the usual step."""
    steps = np.diff(x)
    cuts = np.flatnonzero(steps > MISSING * np.median(steps)) + 1 if steps.size else []
    ends = [0, *cuts, len(x)]
    yield from (slice(begin, end) for begin, end in pairwise(ends))


def _path(panel: Panel, x: np.ndarray, y: np.ndarray) -> str:
    """Of many points the lowest and the highest of each few, in their order; one alone is a dot."""
    if len(x) > MOST_POINTS:
        few = np.array_split(np.arange(len(x)), MOST_POINTS // 2)
        kept = sorted({int(part[pick(y[part])]) for part in few for pick in (np.argmin, np.argmax)} | {0, len(x) - 1})
        x, y = x[kept], y[kept]
    points = [f"{panel.across.x(i)} {panel.y(v)}" for i, v in zip(x.tolist(), y.tolist(), strict=True)]
    return f"M{points[0]}h0" if len(points) == 1 else f"M{points[0]}L{' '.join(points[1:])}"
