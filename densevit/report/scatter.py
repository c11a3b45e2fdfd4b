"""Models as points: how good each is against what it costs."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from densevit.report.saving import BLUE, INK, QUIET, drawable, new_figure, save, tidy


@dataclass(frozen=True)
class Point:
    """A model; `low` to `high` is the interval of its score, nan where there is none."""

    name: str
    cost: float
    score: float
    low: float
    high: float


def scatter(points: Sequence[Point], path: str | Path, *, cost: str, score: str) -> Path:
    """Draw scores over costs as PNG: a logarithmic axis, names beside the points, intervals where there are some."""
    figure = new_figure(8.0, 4.8)
    axes = figure.subplots()
    for point in points:
        if isfinite(point.low) and isfinite(point.high):
            axes.plot([point.cost] * 2, [point.low, point.high], color=BLUE, alpha=0.45, linewidth=2)
        axes.plot([point.cost], [point.score], color=BLUE, marker="o", markersize=6)
    costs = [point.cost for point in points]
    axes.set_xscale("log")
    tidy(axes, ylabel=score)
    axes.margins(x=0, y=0.12)
    axes.set_xlim(*_limits(costs))
    for point in points:
        near_end = point.cost > (min(costs) * max(costs)) ** 0.5
        side = dict(xytext=(-7, 5), ha="right") if near_end else dict(xytext=(7, 5), ha="left")
        where = point.cost, point.score
        axes.annotate(drawable(point.name), where, textcoords="offset points", fontsize=9, color=INK, **side)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="x", color="#eeeeee", linewidth=0.8)
    axes.set_xlabel(cost, fontsize=9, color=QUIET)
    figure.tight_layout()
    return save(figure, path)


def _limits(costs: Sequence[float]) -> tuple[float, float]:
    """Room on both sides, at least half a decade in all."""
    low, high = min(costs), max(costs)
    room = max((high / low) ** 0.15, 1.6)
    return low / room, high * room
