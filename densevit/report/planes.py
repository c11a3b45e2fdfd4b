"""Planes of a volume to look at: which to show, in which grey values, and as rows of a prediction sheet.

Legend: image, label, prediction (D, H, W) on one grid.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from densevit.predictor.structures import structure_boxes
from densevit.report.sheet import Row

AIR = -500.0  # below it lies air, in a scan whose values are HU
SOFT_TISSUE = (-160.0, 240.0)  # HU
MOST = 512  # pixels of the longer side of a plane in a sheet


def gray_window(image: np.ndarray) -> tuple[float, float]:
    """Darkest and brightest value to show: of a CT (a scan that holds air, in HU) soft tissue, else percentiles."""
    some = image[tuple(slice(None, None, max(1, n // 96)) for n in image.shape)]
    low, high = np.percentile(some, (1, 99.5))
    if low < AIR:
        return SOFT_TISSUE
    return float(low), float(max(high, low + 1e-6 * max(abs(low), 1)))


def slices_through(label: np.ndarray, values: Sequence[int]) -> tuple[int, ...]:
    """The slice of each axis in which most of every structure is seen: of all its voxels small ones count alike."""
    score = [np.zeros(n) for n in label.shape]
    boxes = structure_boxes(label, values)
    for value in values:
        box = boxes[value]
        inside = label[box] == value
        for axis, total in enumerate(score):
            area = inside.sum(tuple(other for other in range(3) if other != axis))
            total[box[axis]] += area / area.max()
    return tuple(int(total.argmax()) if total.any() else len(total) // 2 for total in score)


def volume_rows(
    image: np.ndarray, label: np.ndarray, prediction: np.ndarray, *, spacing: Sequence[float], ignore_index: int = 255
) -> list[Row]:
    """An axial and a coronal plane through the structures of `label`, each (image (H, W, 3) uint8, label, prediction).

    The patient's right is on the left, the front or the head at the top; pixels are square. ValueError where the three
    differ in size.
    """
    if not image.shape == label.shape == prediction.shape:
        sizes = f"{image.shape}, {label.shape} and {prediction.shape}"
        raise ValueError(f"expected image, truth and prediction of one size, got {sizes}; resize the label maps")
    low, high = gray_window(image)
    known = np.where(label == ignore_index, 0, label).astype(np.int32)
    where = slices_through(known, [int(value) for value in np.unique(known) if value])
    gray = (np.clip((image - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    rows = []
    for axis in (0, 1):
        planes = [part.take(where[axis], axis)[::-1, ::-1] for part in (gray, label, prediction)]
        sizes = [s for other, s in enumerate(spacing) if other != axis]
        shown, truth, predicted = (square(plane, sizes) for plane in planes)
        rows.append((np.repeat(shown[..., None], 3, -1), truth, predicted))
    return rows


def thickest(inside: np.ndarray, spacing: Sequence[float]) -> tuple[int, ...] | None:
    """Where the largest ball fits into a mask (*S): the middle of its thickest part; None where nothing is set."""
    boxes = ndimage.find_objects(inside.astype(np.uint8))
    if not boxes:
        return None
    depth = ndimage.distance_transform_edt(np.pad(inside[boxes[0]], 1), sampling=spacing)
    deepest = np.unravel_index(depth.argmax(), depth.shape)
    return tuple(int(i) - 1 + part.start for i, part in zip(deepest, boxes[0], strict=True))


def square(plane: np.ndarray, spacing: Sequence[float], *, most: int = MOST) -> np.ndarray:
    """The plane with square pixels as large as its smaller spacing, or as `most` of them allow; each the nearest."""
    extent = [n * s for n, s in zip(plane.shape, spacing, strict=True)]
    pixel = max(min(spacing), max(extent) / most)
    sizes = [max(round(length / pixel), 1) for length in extent]
    picked = [((np.arange(size) + 0.5) * n / size).astype(int) for size, n in zip(sizes, plane.shape, strict=True)]
    return plane[np.ix_(*picked)]
