"""A sheet of pictures: image, truth and prediction side by side, with the colours of the classes below."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from densevit.labels import IGNORED_COLOR, Color, colorize
from densevit.report.saving import INK, LINE, drawable, new_figure, place_picture, save

Row = tuple[np.ndarray, np.ndarray, np.ndarray]

WIDTH = 12.0  # inches
GAP = 0.06
LEGEND_COLUMNS = 8
TALLEST = 2.0  # height over width of a cell; what is taller is shown narrower


def prediction_sheet(
    rows: Sequence[Row],
    path: str | Path,
    *,
    palette: Sequence[Color],
    classes: Sequence[str],
    ignore_index: int = 255,
    max_rows: int = 6,
) -> Path:
    """Draw up to `max_rows` rows of image | truth | prediction as PNG, with a legend of the classes that occur.

    A row is (image (H, W, 3) uint8, label (H, W), prediction (H, W)). Ignored pixels are black. Raises ValueError if
    there is no row, or if a label map has another size than its image.
    """
    rows = [tuple(np.asarray(part) for part in row) for row in rows[:max_rows]]
    if not rows:
        raise ValueError("a sheet of predictions needs at least one row of image, truth and prediction, got none")
    for image, label, prediction in rows:
        if not image.shape[:2] == label.shape == prediction.shape:
            sizes = f"{image.shape[:2]}, {label.shape} and {prediction.shape}"
            raise ValueError(f"expected image, truth and prediction of one size, got {sizes}; resize the label maps")
    present = sorted({int(value) for row in rows for part in row[1:] for value in np.unique(part)} - {ignore_index})
    ignored = any((part == ignore_index).any() for row in rows for part in row[1:])
    cell = (WIDTH - 4 * GAP) / 3
    heights = [cell * min(row[0].shape[0] / row[0].shape[1], TALLEST) for row in rows]
    legend = 0.12 + 0.21 * -(-(len(present) + ignored) // LEGEND_COLUMNS)
    total = 0.32 + sum(heights) + GAP * len(rows) + legend
    figure = new_figure(WIDTH, total)
    top = total - 0.32
    for row, height in zip(rows, heights, strict=True):
        pictures = [row[0], *(colorize(part, palette, ignore_index=ignore_index) for part in row[1:])]
        for column, picture in enumerate(pictures):
            across = min(cell, height * row[0].shape[1] / row[0].shape[0])
            place = (GAP + column * (cell + GAP) + (cell - across) / 2, top - height, across, height)
            place_picture(figure, picture, place, soft=column == 0)
        top -= height + GAP
    for column, name in enumerate(("image", "truth", "prediction")):
        figure.text(
            (GAP + column * (cell + GAP)) / WIDTH, 1 - 0.22 / total, name, fontsize=11, color=INK, weight="bold"
        )
    _add_legend(figure, {classes[i]: palette[i] for i in present} | ({"ignored": IGNORED_COLOR} if ignored else {}))
    return save(figure, path)


def _add_legend(figure: Figure, colors: dict[str, Color]) -> None:
    patches = [
        Patch(facecolor=np.array(color) / 255, edgecolor=LINE, linewidth=0.5, label=drawable(name))
        for name, color in colors.items()
    ]
    figure.legend(
        handles=patches,
        loc="lower left",
        ncols=LEGEND_COLUMNS,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        handlelength=1.4,
        columnspacing=1.6,
        borderaxespad=0.2,
    )
