"""A confusion matrix as a picture."""

from pathlib import Path

import numpy as np

from densevit.evaluate.confused import Matrix
from densevit.report.saving import INK, drawable, new_figure, save

CELL, LEFT, TOP, NAME = 0.34, 1.9, 1.5, 24  # inches of a cell and of the names, and letters of these


def confusion_picture(matrix: Matrix, path: str | Path) -> Path:
    """Draw of each true class (rows) the percentage that was predicted as the class of each column, as PNG."""
    count = len(matrix.names)
    width, height = LEFT + CELL * count + 0.2, TOP + CELL * count + 0.2
    figure = new_figure(width, height)
    axes = figure.add_axes((LEFT / width, 0.2 / height, CELL * count / width, CELL * count / height))
    axes.imshow(matrix.shares**0.6, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    names = [drawable(name if len(name) <= NAME else f"{name[: NAME - 1]}…") for name in matrix.names]
    axes.set_xticks(range(count), names, rotation=60, ha="left", rotation_mode="anchor", fontsize=8, color=INK)
    axes.set_yticks(range(count), names, fontsize=8, color=INK)
    axes.tick_params(length=0, top=False, labeltop=True, labelbottom=False)
    for (row, column), share in np.ndenumerate(matrix.shares):
        if share >= 0.005:
            color = "white" if share > 0.5 else INK
            axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    return save(figure, path)
