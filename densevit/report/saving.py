"""Figures that are drawn without a window and appear on disk only when they are complete."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from densevit.files import replacing

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


def place_picture(
    figure: Figure,
    picture: np.ndarray,
    place: tuple[float, float, float, float],
    *,
    soft: bool = False,
    title: str = "",
) -> None:
    """Show a picture (H, W[, 3]) at `place` (left, bottom, width, height in inches), with hard edges unless `soft`."""
    width, height = figure.get_size_inches()
    left, bottom, across, up = place
    axes = figure.add_axes((left / width, bottom / height, across / width, up / height))
    axes.imshow(picture, aspect="auto", interpolation="antialiased" if soft else "nearest", cmap="gray")
    axes.set_title(title, fontsize=8, color=INK, pad=3)
    axes.set_axis_off()


def save(figure: Figure, path: str | Path) -> Path:
    """Write the figure as PNG beside `path`, then give it its name."""
    path = Path(path)
    with replacing(path) as aside:
        figure.savefig(aside, format="png")
    return path


def drawable(text: str) -> str:
    """The text as matplotlib shall draw it: no mathematics between dollars, and ? for what the font lacks, which it
    warns of.
    """
    font = get_font(findfont(FontProperties()))
    return "".join(c if font.get_char_index(ord(c)) else "?" for c in text).replace("$", r"\$")
