"""Where bars, dots and intervals of a chart lie; templates draw them.

Legend: a chart has a row a structure, a stratum or a model, and one axis across, of `ACROSS` units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from matplotlib.ticker import MaxNLocator

from densevit.report.saving import BLUE, GREEN, ORANGE, PURPLE, QUIET

ACROSS = 400
MODELS = (BLUE, ORANGE, GREEN, PURPLE, QUIET)  # colours of models and of runs
GOLDEN = 0.618034


@dataclass(frozen=True)
class Scale:
    """Values from `low` to `high` on an axis, and round numbers between them."""

    low: float
    high: float
    ticks: Sequence[float]

    def x(self, value: float) -> float:
        """Where a value stands, from 0 to ACROSS."""
        return round(float(np.clip(self.share(value), 0, 1)) * ACROSS, 1)

    def share(self, value: float) -> float:
        """How far along the axis a value stands: 0 at its low end, 1 at its high one."""
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Bar:
    """A row: its name and colour, a mean with its interval, and the values of cases by their names."""

    name: str
    color: str
    mean: float
    low: float
    high: float
    dots: Mapping[str, float]

    def places(self, scale: Scale) -> list[tuple[float, float, str, float]]:
        """(x, y, case, value) of each case that has a value; y, from -1 to 1, only keeps them apart."""
        there = [(case, value) for case, value in self.dots.items() if isfinite(value)]
        return [(scale.x(v), round(2 * (i * GOLDEN % 1) - 1, 2), case, v) for i, (case, v) in enumerate(there)]


@dataclass(frozen=True)
class Chart:
    """Rows on one scale."""

    title: str
    scale: Scale
    rows: Sequence[Bar]


def make_chart(title: str, rows: Sequence[Bar], *, unit: bool) -> Chart:
    """A chart whose axis goes from 0 to 1 for shares, else as far as means, intervals and cases do."""
    values = [value for row in rows for value in (row.mean, row.low, row.high, *row.dots.values())]
    return Chart(title, Scale(0, 1, (0, 0.25, 0.5, 0.75, 1)) if unit else _scale(values), rows)


def _scale(values: Iterable[float]) -> Scale:
    known = [0.0, *(value for value in values if isfinite(value))]
    return round_scale(min(known), max(known))


def round_scale(low: float, high: float) -> Scale:
    """An axis that holds both, between round numbers of at most six digits."""
    high = max(high, low + 1e-9, low + 1e-4 * abs(low))
    ticks = [float(f"{tick:.6g}") for tick in MaxNLocator(5).tick_values(low, high)]
    return Scale(ticks[0], ticks[-1], ticks)
