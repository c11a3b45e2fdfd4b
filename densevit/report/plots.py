"""Curves of one run or several: loss, learning rate and mIoU over the iterations."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from densevit.report.saving import BLUE, GREEN, INK, ORANGE, PURPLE, QUIET, drawable, new_figure, save, tidy

Points = Sequence[tuple[float, float]]
# Scalars of training without labels, which are drawn where they are: docs/pretraining.md says what they mean.
OBSERVED = dict(teacher_entropy="entropy, nats", feature_rank="feature rank")
SCORES = ("mCaseDice", "mIoU", "top1")


def smooth(values: np.ndarray) -> np.ndarray:
    """Centred running mean over about a twentieth of the points, over fewer towards both ends: (n,) -> (n,)."""
    n = len(values)
    half = np.minimum(n // 40, np.minimum(np.arange(n), np.arange(n)[::-1]))
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    first, last = np.arange(n) - half, np.arange(n) + half + 1
    return (total[last] - total[first]) / (last - first)


def series(scalars: Sequence[Mapping[str, object]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """Iterations and values of one scalar, without the rows that lack it or hold no finite number."""
    found = [(row["iter"], row[key]) for row in scalars if isinstance(row.get(key), int | float)]
    points = np.array(found, dtype=np.float64).reshape(-1, 2)
    points = points[np.isfinite(points[:, 1])]
    return points[:, 0], points[:, 1]


def range_of_most(values: np.ndarray) -> tuple[float, float]:
    """From where to where to draw, so that the first steep iterations and single peaks leave the picture."""
    low, high = float(values.min()), float(np.quantile(values, 0.995))
    margin = 0.06 * max(high - low, 1e-6 * abs(high), 1e-9)
    return max(low - margin, 0.0) if low >= 0 else low - margin, high + margin


def _draw_score(axes: Axes, *, x: np.ndarray, y: np.ndarray) -> None:
    axes.plot(x, y, color=GREEN, linewidth=1.6, marker="o", markersize=4)
    best = int(np.argmax(y))
    axes.annotate(f"best {y[best]:.2f}", (x[best], y[best]), xytext=(0, 6), textcoords="offset points",
                  ha="right" if x[best] > x.mean() else "left", fontsize=9, color=GREEN, fontweight="bold")  # fmt: skip
    axes.margins(y=0.2)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.0))


def plot_curves(scalars: Sequence[Mapping[str, object]], path: str | Path) -> Path:
    """Draw the curves of one run as PNG: training loss, validation score where there is one, and learning rate.

    `scalars` are the rows of a run's scalars.jsonl: each has `iter`, and `loss`, `lr`, what else was observed in
    training, and a score where it was measured; volumes have two and show `mCaseDice`. Raises ValueError if no row
    holds any of them.
    """
    score = next((key for key in SCORES if any(key in row for row in scalars)), "mIoU")
    curves = {key: series(scalars, key) for key in ("loss", *OBSERVED, score, "lr")}
    shown = [key for key, (x, _) in curves.items() if len(x)]
    if not shown:
        raise ValueError(
            f"none of the {len(scalars)} rows holds a loss, a mIoU or a learning rate; nothing can be drawn"
        )
    weights = {"loss": 3.0, **dict.fromkeys(OBSERVED, 1.0), score: 2.0, "lr": 1.0}
    figure = new_figure(8.0, 0.7 + 0.95 * sum(weights[key] for key in shown))
    rows = figure.subplots(len(shown), 1, sharex=True, squeeze=False,
                           height_ratios=[weights[key] for key in shown])[:, 0]  # fmt: skip
    for axes, key in zip(rows, shown, strict=True):
        x, y = curves[key]
        if key == "loss":
            axes.plot(x, y, color=BLUE, alpha=0.25, linewidth=0.9)
            axes.plot(x, smooth(y), color=BLUE, linewidth=1.8)
            axes.set_ylim(*range_of_most(y))
        elif key == score:
            _draw_score(axes, x=x, y=y)
        else:
            axes.plot(x, y, color=PURPLE if key in OBSERVED else ORANGE, linewidth=1.6)
            axes.set_ylim(bottom=0.0)
            axes.yaxis.set_major_locator(MaxNLocator(3))
            axes.yaxis.set_major_formatter("{x:g}")
        names = {"loss": "training loss", **OBSERVED, score: f"validation {score}, %", "lr": "learning rate"}
        tidy(axes, ylabel=names[key])
    rows[-1].set_xlabel("iteration", fontsize=9, color=INK)
    figure.tight_layout()
    return save(figure, path)


def compare_curves(runs: Mapping[str, Points], path: str | Path, *, ylabel: str) -> Path:
    """Draw curves of several runs on each other as PNG: raw values faint, their running mean strong.

    `runs` maps a name to its (iteration, value) points. The first curve is broad and the next ones are thin, so that
    curves that agree are all seen. Raises ValueError if a run has no finite point.
    """
    empty = [name for name, points in runs.items() if not any(np.isfinite(value) for _, value in points)]
    if empty or not runs:
        raise ValueError(
            f"expected at least one finite point a run to draw {ylabel!r}, got none for {empty or 'any run'}"
        )
    figure = new_figure(8.0, 4.2)
    axes = figure.subplots()
    values = []
    for i, (name, points) in enumerate(runs.items()):
        finite = np.array(points, dtype=np.float64)
        x, y = finite[np.isfinite(finite[:, 1])].T
        color = (BLUE, ORANGE, GREEN, PURPLE, QUIET)[i % 5]
        axes.plot(x, y, color=color, alpha=0.18, linewidth=0.8)
        axes.plot(
            x,
            smooth(y),
            color=color,
            alpha=0.45 if i == 0 else 1.0,
            linewidth=5.0 if i == 0 else 1.3,
            label=drawable(name),
        )
        values.append(y)
    axes.set_ylim(*range_of_most(np.concatenate(values)))
    tidy(axes, ylabel=ylabel)
    axes.set_xlabel("iteration", fontsize=9, color=INK)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    figure.tight_layout()
    return save(figure, path)
