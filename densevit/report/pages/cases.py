"""A case to look at: planes of its image with truth, prediction and errors as layers of small pictures.

Legend: maps (*S) of the files' values, a plane (rows, columns). A picture has one view of one plane; a volume three
views of several, seen as radiologists do.
"""

import logging
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.evaluate.cases import read_map
from densevit.evaluate.files import Measured
from densevit.evaluate.pairs import Pair
from densevit.labels import Color
from densevit.pictures.reading import read_image
from densevit.report.pages.layers import (
    Paint,
    class_layers,
    color_table,
    error_layers,
    number_errors,
    photo,
    structures_in,
)
from densevit.report.planes import gray_window, slices_through, square, thickest
from densevit.report.preview import VIEWS
from densevit.volumes.grid import Grid
from densevit.volumes.volume import nifti_bytes, open_volume

logger = logging.getLogger("densevit")

MOST = {False: 1024, True: 384}  # pixels of the longer side, of pictures and of planes of volumes
SLICES = 8  # of each view of a volume


@dataclass(frozen=True)
class Slice:
    """One plane: pictures as data: addresses, layers by structure; of errors each that concerns a structure, as missed,
    false or taken for another one, so that a pixel may be in two. `size` is (width, height)."""

    caption: str
    size: tuple[int, int]
    image: str | None
    truth: Mapping[str, str]
    prediction: Mapping[str, str]
    errors: Mapping[str, str]


@dataclass(frozen=True)
class View:
    """Slices along one axis, of which `first` is shown first; `letters` are what is left, right, above and below."""

    letters: str
    slices: Sequence[Slice]
    first: int


@dataclass(frozen=True)
class Scene:
    """A volume of so many voxels for the viewer: NIfTI files as text by what they show, the colours of their values and
    the structures `of` which each is, and the voxel (w, h, d) at which it begins."""

    files: Mapping[str, str]
    colors: Mapping[str, Mapping[str, Sequence[Any]]]
    place: Sequence[int]
    voxels: int


@dataclass(frozen=True)
class Look:
    """All that is to be seen of a case, and what is to be said of it; `scene` is None for what the viewer has not."""

    views: Sequence[View]
    remark: str
    scene: Scene | None = None


@dataclass(frozen=True)
class Maps:
    """A case in memory: label maps, and its image in 8 bits, (*S) or (*S, 3), where there is one."""

    truth: np.ndarray
    prediction: np.ndarray
    errors: np.ndarray
    image: np.ndarray | None
    grid: Grid

    @property
    def is_volume(self) -> bool:
        return self.grid.affine is not None


def look_at(
    pair: Pair, measured: Measured, *, image: Path | None, shown: Mapping[str, Color], most_voxels: int
) -> Look:
    """Read a case again, for its pictures; `shown` are the scored structures' colours.

    Volumes of more than `most_voxels` have no scene, nor have those of more structures than a byte counts.
    """
    labels = {name: measured.structures.labels[name] for name in shown}
    maps, remark = _read(pair, measured, image, classes=set().union(*labels.values()))
    paint = {name: (labels[name], color) for name, color in shown.items()}
    if not maps.is_volume:
        return Look([View("", [_slice(maps, "", None, 0, paint)], 0)], remark)
    place = thickest(maps.errors > 0, maps.grid.spacing)
    drawn = np.where(maps.truth > 0, maps.truth, maps.prediction)
    if place is None:
        values = sorted({value for each in labels.values() for value in each} & set(np.unique(drawn).tolist()) - {0})
        place = slices_through(drawn, values)
    views = []
    for view, (axis, letters) in VIEWS.items():
        indices = _indices(maps, axis, place[axis])
        captions = [f"{view} {i + 1} of {maps.truth.shape[axis]}" for i in indices]
        slices = [_slice(maps, caption, axis, i, paint) for caption, i in zip(captions, indices, strict=True)]
        views.append(View(letters, slices, indices.index(place[axis])))
    small = maps.truth.size <= most_voxels and len(paint) < 256
    return Look(views, remark, _scene(maps, paint, place) if small else None)


def _scene(maps: Maps, paint: Paint, place: Sequence[int]) -> Scene:
    parts = {"image": np.zeros(maps.truth.shape, np.uint8) if maps.image is None else maps.image}
    for what, labels in (("truth", maps.truth), ("prediction", maps.prediction)):
        parts[what] = np.zeros(labels.shape, np.uint8)
        numbers = {name: i for i, name in enumerate(paint, start=1)}
        for name, inside, _ in structures_in(labels, paint):
            parts[what][inside] = numbers[name]
    colors = [color for _, color in paint.values()]
    tables = dict.fromkeys(("truth", "prediction"), color_table(colors, [[name] for name in paint]))
    parts["errors"], tables["errors"] = number_errors(maps.errors, maps.truth, maps.prediction, paint)
    files = {what: b64encode(nifti_bytes(part, maps.grid)).decode() for what, part in parts.items()}
    return Scene(files, tables, [int(i) for i in place[::-1]], maps.truth.size)


def _read(pair: Pair, measured: Measured, image: Path | None, *, classes: set[int]) -> tuple[Maps, str]:
    truth, grid = read_map(pair.truth)
    truth = measured.structures.without_ignored(truth)
    prediction, remark = np.full(truth.shape, -1, np.int32), measured.failed.get(pair.case, "")
    if pair.prediction is None:
        remark = "there is no prediction"
    elif not remark:
        prediction = read_map(pair.prediction, like=pair.truth, structures=measured.structures)[0]
    known = truth != measured.structures.ignore_index
    there, found = (np.isin(part, list(classes)) for part in (truth, prediction))
    errors = np.where(there, np.where(found, 3, 1), 2).astype(np.uint8) * (known & (truth != prediction))
    errors[~there & ~found] = 0
    return Maps(truth, prediction, errors, _read_image(image, grid), grid), remark


def _read_image(path: Path | None, grid: Grid) -> np.ndarray | None:
    """In 8 bits; None, and a warning, where it cannot be read or is of another size than the label."""
    if path is None:
        return None
    try:
        if grid.affine is None:
            image = read_image(path)
        else:
            scan = open_volume(path).image[0]
            low, high = gray_window(scan)
            image = (np.clip((scan - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    except (ValueError, OSError, MemoryError) as error:
        logger.warning("shown without its image: %s", error)
        return None
    size = image.shape[: len(grid.size)]
    if size != grid.size:
        logger.warning("shown without its image: %s has the size %s and its label %s", path, size, grid.size)
        return None
    return image


def _indices(maps: Maps, axis: int, place: int) -> list[int]:
    """Slices spread over all that is labelled or predicted, and the one at `place`."""
    others = tuple(other for other in range(3) if other != axis)
    filled = np.flatnonzero(((maps.truth > 0) | (maps.prediction > 0)).any(others))
    ends = (filled[0], filled[-1]) if filled.size else (place, place)
    return sorted({place, *np.linspace(*ends, SLICES - 1).round().astype(int).tolist()})


def _slice(maps: Maps, caption: str, axis: int | None, index: int, paint: Paint) -> Slice:
    def plane(array: np.ndarray) -> np.ndarray:
        flat = array if axis is None else array.take(index, axis)[::-1, ::-1]
        sizes = [s for other, s in enumerate(maps.grid.spacing) if other != axis]
        return square(flat, sizes, most=MOST[maps.is_volume])

    truth, prediction, errors = (plane(part) for part in (maps.truth, maps.prediction, maps.errors))
    image = None if maps.image is None else photo(plane(maps.image) if axis is not None else maps.image, truth.shape)
    layers = (
        class_layers(truth, paint),
        class_layers(prediction, paint),
        error_layers(errors, (truth, prediction), paint),
    )
    return Slice(caption, (truth.shape[1], truth.shape[0]), image, *layers)
