"""One scan with its structures as a picture: three planes through them, at their true proportions.

Legend: image (C, D, H, W) in the file's units, label (D, H, W) of the file's values, plane (rows, columns).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from densevit.labels import structure_colors
from densevit.report.planes import gray_window, slices_through
from densevit.report.saving import INK, QUIET, drawable, new_figure, save
from densevit.volumes.volume import Volume

WIDTH, HEIGHT = 11.0, 4.4  # inches that the three planes have at most
GAP, TOP, LINE = 0.1, 0.62, 0.24  # inches between planes, above them, and of a line of the legend
COLUMNS, MOST_LISTED = 5, 24  # of the legend; the largest structures are listed
LETTER = "#ffd966"
# View -> (axis that is cut, letters at its left, right, top and bottom).
VIEWS = {"axial": (0, "RLAP"), "coronal": (1, "RLSI"), "sagittal": (2, "APSI")}


@dataclass(frozen=True)
class Structure:
    """A structure that was found; `color` is RGB from 0 to 1."""

    value: int
    name: str
    color: tuple[float, ...]
    ml: float


def save_preview(
    path: str | Path, volume: Volume, label: np.ndarray, *, classes: Sequence[str], values: Sequence[int]
) -> Path:
    """Write what `draw_preview` draws as PNG."""
    return save(draw_preview(volume, label, classes=classes, values=values), path)


def draw_preview(volume: Volume, label: np.ndarray, *, classes: Sequence[str], values: Sequence[int]) -> Figure:
    """Three planes through the structures, with their names and volumes below.

    Planes are seen as radiologists do: the patient's right is on the left, the front at the top or on the left. Grey
    values are of the first channel, see `gray_window`; each plane cuts where most of every structure is seen.
    """
    if label.shape != volume.grid.size:
        raise ValueError(f"the label has {label.shape} voxels, and {volume.path} has {volume.grid.size}")
    structures = _structures(label, volume.grid.voxel_volume, classes=classes, values=values)
    listed = sorted(structures[:MOST_LISTED], key=lambda structure: structure.value)
    below = 0.2 + LINE * max(1, -(-len(listed) // COLUMNS))
    places, height = place_planes(label.shape, volume.grid.spacing, below=below)
    figure = new_figure(WIDTH, height)
    window, where = gray_window(volume.image[0]), slices_through(label, [s.value for s in structures])
    for (view, (axis, letters)), place in zip(VIEWS.items(), places, strict=True):
        axes = figure.add_axes((place[0] / WIDTH, place[1] / height, place[2] / WIDTH, place[3] / height))
        image, plane = (part.take(where[axis], axis)[::-1, ::-1] for part in (volume.image[0], label))
        draw_plane(axes, image, plane, window=window, structures=structures)
        _write_letters(axes, letters)
        axes.set_title(f"{view}, {where[axis] + 1} of {label.shape[axis]}", fontsize=9, color=QUIET, pad=4)
    spacing = " x ".join(f"{s:.3g}" for s in volume.grid.spacing[::-1])
    size = " x ".join(map(str, label.shape[::-1]))
    title = f"{drawable(volume.path.name)}    {size} voxels of {spacing} mm"
    figure.text(GAP / WIDTH, 1 - 0.24 / height, title, fontsize=10, color=INK, weight="bold")
    _add_legend(figure, listed, len(structures))
    return figure


def place_planes(
    size: Sequence[int], spacing: Sequence[float], *, below: float
) -> tuple[list[tuple[float, float, float, float]], float]:
    """(left, bottom, width, height) in inches of each view, at one scale, and the height of the page."""
    depth, height, width = (n * s for n, s in zip(size, spacing, strict=True))
    across, up = (width, width, height), (height, depth, depth)
    scale = min(HEIGHT / max(up), (WIDTH - 4 * GAP) / sum(across))
    highest = scale * max(up)
    left = (WIDTH - scale * sum(across) - 2 * GAP) / 2
    places = []
    for w, h in zip(across, up, strict=True):
        places.append((left, below + (highest - scale * h) / 2, scale * w, scale * h))
        left += scale * w + GAP
    return places, TOP + highest + below


def draw_plane(
    axes: Axes,
    image: np.ndarray,
    plane: np.ndarray,
    *,
    window: tuple[float, float],
    structures: Sequence[Structure],
) -> None:
    """A plane of an image in grey, that of its label as a tint inside of an outline; it fills the axes."""
    rows, columns = plane.shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    low, high = window
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto", interpolation="bilinear")
    tint = np.zeros((rows, columns, 4))
    for structure in structures:
        inside = plane == structure.value
        if inside.any():
            tint[inside] = (*structure.color, 0.28)
            framed = np.pad(inside, 1).astype(np.float32)  # so that an outline closes at the border
            x, y = np.arange(-1, columns + 1), np.arange(-1, rows + 1)
            axes.contour(x, y, framed, levels=[0.5], colors=[structure.color], linewidths=1.1)
    axes.imshow(tint, extent=extent, aspect="auto", interpolation="nearest")
    axes.set(xlim=extent[:2], ylim=extent[2:], xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _structures(label: np.ndarray, voxel: float, *, classes: Sequence[str], values: Sequence[int]) -> list[Structure]:
    """Those in the label, the largest first; `voxel` in mm3."""
    colors = structure_colors(len(values))
    there = dict(zip(*(part.tolist() for part in np.unique(label, return_counts=True)), strict=True))
    found = [
        Structure(value, name, tuple(part / 255 for part in color), there[value] * voxel / 1000)
        for value, name, color in zip(values, classes, colors, strict=True)
        if value and value in there
    ]
    return sorted(found, key=lambda structure: -structure.ml)


def _write_letters(axes: Axes, letters: str) -> None:
    """Which way is left, right, top and bottom."""
    for letter, (x, y) in zip(letters, ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02)), strict=True):
        sides = {0.02: "left", 0.5: "center", 0.98: "right"}[x], {0.02: "bottom", 0.5: "center", 0.98: "top"}[y]
        axes.text(x, y, letter, transform=axes.transAxes, ha=sides[0], va=sides[1], fontsize=9, color=LETTER,
                  path_effects=[withStroke(linewidth=2, foreground="black")])  # fmt: skip


def _add_legend(figure: Figure, listed: Sequence[Structure], count: int) -> None:
    if not listed:
        figure.text(0.5, 0.02, "no structure was found", ha="center", fontsize=10, color=QUIET)
        return
    handles = [Patch(color=s.color, label=f"{drawable(s.name)}  {_amount(s.ml)}") for s in listed]
    if count > len(listed):
        handles.append(Patch(alpha=0, label=f"and {count - len(listed)} smaller ones"))
    columns = min(COLUMNS, len(handles))
    figure.legend(
        handles=handles, loc="lower center", ncols=columns, frameon=False, fontsize=9, labelcolor=INK,
        borderaxespad=0.4, handlelength=1.0, handleheight=1.0, columnspacing=2.0,
    )  # fmt: skip


def _amount(ml: float) -> str:
    return f"{ml:.0f} ml" if ml >= 100 else f"{ml:.3g} ml"
