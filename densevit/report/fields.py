"""Receptive fields as pictures: what an output sees of an image, by powers of ten, and boxes around its centre."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from densevit.report.saving import INK, drawable, new_figure, save

CELL, GAP, TITLE, SCALE, BELOW = 1.9, 0.1, 0.52, 0.75, 0.1  # inches: of a plane, between, above, of the scale, below
TALLEST = 2.0  # height over width of a plane; a taller one is squeezed
DARKEST = 1e-5  # of the peak
COLORS, EDGES = "inferno", ("#ffffff", "#7fd6ff", "#62e08a")


@dataclass(frozen=True)
class Plane:
    """`values` (H, W) of pixels `spacing` apart, with boxes (height, width) in pixels around `centre`, and a title."""

    title: str
    line: str
    values: np.ndarray
    centre: tuple[float, float]
    boxes: Sequence[tuple[float, float]]
    spacing: tuple[float, float] = (1.0, 1.0)


def field_sheet(rows: Sequence[Sequence[Plane]], path: str | Path) -> Path:
    """Draw planes as PNG, each from dark at 1e-5 of its peak or less to bright at its peak; boxes are the three of a
    legend: white, blue and green."""
    shapes = [[n * s for n, s in zip(row[0].values.shape, row[0].spacing, strict=True)] for row in rows]
    heights = [CELL * min(high / wide, TALLEST) for high, wide in shapes]
    width = len(rows[0]) * (CELL + GAP) + GAP + SCALE
    total = sum(heights) + len(rows) * TITLE + BELOW
    figure, top = new_figure(width, total), total
    norm = LogNorm(DARKEST, 1)
    for row, height in zip(rows, heights, strict=True):
        top -= TITLE + height
        for column, plane in enumerate(row):
            left = GAP + column * (CELL + GAP)
            axes = figure.add_axes((left / width, top / total, CELL / width, height / total))
            high, wide = plane.values.shape
            values = np.maximum(plane.values / max(plane.values.max(), 1e-300), DARKEST)
            shown = dict(extent=(0, wide, high, 0), aspect="auto", interpolation="nearest")
            axes.imshow(values, cmap=COLORS, norm=norm, **shown)
            for (down, across), color in zip(plane.boxes, EDGES, strict=False):
                corner = plane.centre[1] - across / 2, plane.centre[0] - down / 2
                axes.add_patch(Rectangle(corner, across, down, fill=False, edgecolor=color, linewidth=1.0))
            axes.set_title(f"{drawable(plane.title)}\n{drawable(plane.line)}", fontsize=8, color=INK, pad=3)
            axes.set_axis_off()
    place = ((width - SCALE + 0.1) / width, BELOW / total + 0.02, 0.1 / width, 1 - (TITLE + BELOW) / total - 0.02)
    scale = figure.colorbar(ScalarMappable(norm, COLORS), cax=figure.add_axes(place))
    scale.ax.tick_params(labelsize=7, colors=INK)
    return save(figure, path)
