"""Structures of a label map: what is measured of each, and how they are made tidy on request.

Legend: label (D, H, W) of the file's values, image (C, D, H, W) in the file's units.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from densevit.registry import check_known
from densevit.volumes.grid import Grid

MOST_LISTED = 2**16
PLACES = ("right", "anterior", "superior")  # the directions of the axes of millimetres


def measure_structures(
    label: np.ndarray, image: np.ndarray, *, grid: Grid, classes: Sequence[str], values: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Name -> label, voxels, ml, and where there are voxels: `mean` of each channel, `centroid` and `box` in mm.

    Millimetres are (right, anterior, superior), as of NIfTI; a box is [lowest corner, highest corner] around whole
    voxels. The background (0) has no centroid and no box.
    """
    boxes = structure_boxes(label, values)
    background = tuple(slice(0, n) for n in label.shape)
    milliliters = grid.voxel_volume / 1000
    found = {}
    for name, value in zip(classes, map(int, values), strict=True):
        box = background if value == 0 else boxes.get(value)
        inside = None if box is None else label[box] == value
        voxels = 0 if inside is None else int(np.count_nonzero(inside))
        found[name] = dict(label=value, voxels=voxels, ml=round(voxels * milliliters, 6), mean=None)
        if voxels:
            found[name]["mean"] = [
                float(f"{channel[box].mean(where=inside, dtype=np.float64):.6g}") for channel in image
            ]
        if value:
            found[name] |= _where(inside, box, grid) if voxels else dict(centroid=None, box=None)
    return found


def structure_boxes(label: np.ndarray, values: Sequence[int]) -> dict[int, tuple[slice, ...]]:
    """The box around each value but 0 that is there; values may be large: scipy lists all numbers up to the last."""
    from scipy import ndimage

    order = np.unique([0, *values])
    if order[-1] <= MOST_LISTED:
        numbered, order = label, np.arange(order[-1] + 1)
    else:
        numbered = np.searchsorted(order, label).clip(max=len(order) - 1)
        numbered[order[numbered] != label] = 0
    found = ndimage.find_objects(numbered, max_label=len(order) - 1) if len(order) > 1 else []
    return {int(value): box for value, box in zip(order[1:], found, strict=True) if box is not None}


def table_rows(case: str, structures: Mapping[str, Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """One flat row for each structure, for CSV."""
    for name, found in structures.items():
        row = dict(case=case, structure=name, label=found["label"], voxels=found["voxels"], ml=found["ml"])
        means = found["mean"] or []
        row |= {f"mean_{i}" if len(means) > 1 else "mean": mean for i, mean in enumerate(means)}
        for axis, place in enumerate(PLACES):
            row[f"centroid_{place}"] = found["centroid"][axis] if found.get("centroid") else None
        for end, corner in zip(("low", "high"), found.get("box") or ((), ()), strict=True):
            row |= {f"{end}_{place}": number for place, number in zip(PLACES, corner, strict=False)}
        yield row


def _where(inside: np.ndarray, crop: tuple[slice, ...], grid: Grid) -> dict[str, list]:
    """Centroid and bounding box in mm of the voxels (D, H, W) of a crop."""
    along = [inside.sum(tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    centre = [np.average(np.arange(len(n)), weights=n) + crop[axis].start for axis, n in enumerate(along)]
    # Along each row a linear function is largest at the first or the last voxel, so that two per row are enough.
    d, h = np.nonzero(inside.any(2))
    rows = inside[d, h]
    first, last = rows.argmax(1), rows.shape[1] - 1 - rows[:, ::-1].argmax(1)
    ends = np.concatenate([np.stack([w, h, d], 1) for w in (first, last)]) + [axis.start for axis in crop[::-1]]
    turned, origin = grid.affine[:3, :3], grid.affine[:3, 3]  # (w, h, d) -> (right, anterior, superior) mm
    corners, centroid = ends @ turned.T + origin, np.array(centre[::-1]) @ turned.T + origin
    half = np.abs(turned).sum(1) / 2  # of a voxel, along the axes of millimetres
    points = (centroid, corners.min(0) - half, corners.max(0) + half)
    centroid, *box = ([round(x, 3) for x in point.tolist()] for point in points)
    return dict(centroid=centroid, box=box)


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Names of the classes whose largest piece alone is kept, and of those whose holes are filled; () means every one
    but the background, None none.

    Voxels that touch by a corner are of one piece, and a hole that is open by a corner is none. What is taken away
    becomes background (0). Only background is filled: a tumour inside a liver stays a tumour.
    """

    largest_component: Sequence[str] | None = None
    fill_holes: Sequence[str] | None = None

    def check(self, classes: Sequence[str], values: Sequence[int]) -> None:
        """ValueError for a class that a checkpoint lacks, for its background, and where it has none."""
        values = [int(value) for value in values]
        for name in (*(self.largest_component or ()), *(self.fill_holes or ())):
            check_known(name, classes, what="no class to clean up is named")
            if values[list(classes).index(name)] == 0:
                raise ValueError(f"{name!r} has the label value 0, which is background; name the structures instead")
        if self.largest_component is not None and 0 not in values:
            raise ValueError("the classes have no background (label value 0) that smaller pieces could become")

    def __call__(self, label: np.ndarray, *, classes: Sequence[str], values: Sequence[int]) -> None:
        """Change `label` in place: pieces first, then holes, each in the order of names."""
        if self.largest_component is self.fill_holes is None:
            return
        value = {name: int(v) for name, v in zip(classes, values, strict=True)}
        for names, clean in ((self.largest_component, keep_largest_component), (self.fill_holes, fill_holes)):
            if names is None:
                continue
            boxes = structure_boxes(label, list(value.values()))
            for number in (value[name] for name in names or classes):
                if number in boxes:
                    clean(label[boxes[number]], number)


def keep_largest_component(label: np.ndarray, value: int) -> None:
    """Turn all but the largest piece of a structure into background, in place; of equals the first is kept."""
    from scipy import ndimage

    pieces, count = ndimage.label(label == value, structure=np.ones((3,) * label.ndim, bool))
    if count > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        label[(pieces != sizes.argmax()) & (pieces != 0)] = 0


def fill_holes(label: np.ndarray, value: int) -> None:
    """Give a structure the background that it encloses, in place; `label` is its box or more."""
    from scipy import ndimage

    outside = label != value
    pieces, count = ndimage.label(outside, structure=np.ones((3,) * label.ndim, bool))
    enclosed = np.ones(count + 1, bool)
    enclosed[0] = False
    for axis in range(label.ndim):
        for end in (0, -1):
            enclosed[pieces.take(end, axis)] = False
    if enclosed.any():
        label[enclosed[pieces] & (label == 0)] = value
