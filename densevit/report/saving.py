"""Figures that are drawn without a window and appear on disk only when they are complete."""

import os
import tempfile
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, QUIET, LINE = "#222222", "#777777", "#e3e3e3"
BLUE, ORANGE, GREEN, PURPLE = "#1f5fa8", "#d9661f", "#2b8a57", "#7a4fa3"


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, 110 dots an inch."""
    figure = Figure(figsize=(width, height), dpi=110, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: Axes, *, ylabel: str) -> None:
    """Name the y axis above it, keep two spines and a faint horizontal grid."""
    axes.set_title(ylabel, loc="left", fontsize=10, color=INK, fontweight="bold")
    for name in ("top", "right", "left"):
        axes.spines[name].set_visible(False)
    axes.spines["bottom"].set_color(QUIET)
    axes.tick_params(colors=QUIET, labelcolor=INK, labelsize=9, length=3)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.01)


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG beside `path`, then give it its name."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            figure.savefig(file, format="png")
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o644)
        os.replace(aside, path)
    finally:
        Path(aside).unlink(missing_ok=True)
    return path
