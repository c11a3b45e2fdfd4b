"""Planes of a volume as rows of a prediction sheet, at their true proportions.

Legend: image, label, prediction (D, H, W) on one grid.
"""

from collections.abc import Sequence

import numpy as np

from densevit.report.sheet import Row
from densevit.report.volume_preview import gray_window, slices_through

MOST = 512  # pixels of a plane's longer side


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
        shown, truth, predicted = (_square(plane, sizes) for plane in planes)
        rows.append((np.repeat(shown[..., None], 3, -1), truth, predicted))
    return rows


def _square(plane: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """The plane with square pixels as large as its smaller spacing, or as `MOST` of them allow; each the nearest."""
    extent = [n * s for n, s in zip(plane.shape, spacing, strict=True)]
    pixel = max(min(spacing), max(extent) / MOST)
    sizes = [max(round(length / pixel), 1) for length in extent]
    picked = [((np.arange(size) + 0.5) * n / size).astype(int) for size, n in zip(sizes, plane.shape, strict=True)]
    return plane[np.ix_(*picked)]
