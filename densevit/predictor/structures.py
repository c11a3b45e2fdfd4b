"""What is measured of every structure: voxels, millilitres, where it lies, how bright it is.

Legend: label (D, H, W) of the file's values, image (C, D, H, W) in the file's units.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from densevit.volumes.grid import Grid

PLACES = ("right", "anterior", "superior")  # the directions of the axes of millimetres


def measure_structures(
    label: np.ndarray, image: np.ndarray, *, grid: Grid, classes: Sequence[str], values: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """Name -> label, voxels, ml, and where there are voxels: `mean` of each channel, `centroid` and `box` in mm.

    Millimetres are (right, anterior, superior), as of NIfTI; a box is [lowest corner, highest corner] around whole
    voxels. The background (0) has no centroid and no box.
    """
    from scipy import ndimage

    boxes = ndimage.find_objects(label)
    background = tuple(slice(0, n) for n in label.shape)
    milliliters = prod(grid.spacing) / 1000
    found = {}
    for name, value in zip(classes, map(int, values), strict=True):
        box = background if value == 0 else boxes[value - 1] if value <= len(boxes) else None
        inside = None if box is None else label[box] == value
        voxels = 0 if inside is None else int(np.count_nonzero(inside))
        found[name] = dict(label=value, voxels=voxels, ml=round(voxels * milliliters, 6), mean=None)
        if voxels:
            found[name]["mean"] = [_round(channel[box].mean(where=inside, dtype=np.float64)) for channel in image]
        if value:
            found[name] |= _where(inside, box, grid) if voxels else dict(centroid=None, box=None)
    return found


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


def _where(inside: np.ndarray, box: tuple[slice, ...], grid: Grid) -> dict[str, list]:
    """Centroid and bounding box in mm of the voxels (D, H, W) of a crop."""
    along = [inside.sum(tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    centre = [np.average(np.arange(len(n)), weights=n) + box[axis].start for axis, n in enumerate(along)]
    # Along each row a linear function is largest at the first or the last voxel, so that two per row are enough.
    d, h = np.nonzero(inside.any(2))
    rows = inside[d, h]
    first, last = rows.argmax(1), rows.shape[1] - 1 - rows[:, ::-1].argmax(1)
    starts = [axis.start for axis in box]
    ends = np.concatenate([np.stack([w + starts[2], h + starts[1], d + starts[0]], 1) for w in (first, last)])
    corners = _to_mm(grid, ends)
    half = np.abs(grid.affine[:3, :3]).sum(1) / 2  # of a voxel, along the axes of millimetres
    low, high = corners.min(0) - half, corners.max(0) + half
    return dict(centroid=_rounded(_to_mm(grid, np.array(centre[::-1]))), box=[_rounded(low), _rounded(high)])


def _to_mm(grid: Grid, voxels: np.ndarray) -> np.ndarray:
    """(..., (w, h, d)) -> (..., (right, anterior, superior)) mm."""
    return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def _round(number: float) -> float:
    return float(f"{number:.6g}")


def _rounded(point: np.ndarray) -> list[float]:
    return [round(float(x), 3) for x in point]
