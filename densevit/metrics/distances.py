"""Distances in mm between the borders of two bool masks (*S), and what is said of them: hd, hd95, assd, nsd.

Each function is one definition; docs/metrics.md says which tool means which by its name.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from densevit.metrics.borders import border_cells, border_voxels

# With more border points than this a distance transform of the box is faster than a tree.
MANY_POINTS = 1_000_000
# Distances that differ from a tolerance by rounding alone are within it: 3 x 0.7 <= 2.1.
ROUNDING = 1 + 1e-6


@dataclass(frozen=True)
class Distances:
    """From each point of one border to the nearest of the other, in mm, and how much of the border the point stands
    for: 1 for a voxel, an area in mm^2 (in 2D a length in mm) for a surface element."""

    from_prediction: np.ndarray  # (N,)
    from_truth: np.ndarray  # (M,)
    prediction_sizes: np.ndarray  # (N,)
    truth_sizes: np.ndarray  # (M,)

    @property
    def sides(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Distances and sizes of the predicted border, and those of the true one."""
        return (self.from_prediction, self.prediction_sizes), (self.from_truth, self.truth_sizes)

    @property
    def defined(self) -> bool:
        return bool(len(self.from_prediction) and len(self.from_truth))


def border_distances(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    unknown: np.ndarray | None = None,
    connectivity: int = 1,
    edge_is_border: bool = True,
) -> Distances:
    """Distances between the border voxels of two masks; the options are those of `border_voxels`."""
    spacing = check_spacing(prediction, truth, spacing)
    options = dict(unknown=unknown, connectivity=connectivity, edge_is_border=edge_is_border)
    a, b = border_voxels(prediction, **options), border_voxels(truth, **options)
    return Distances(nearest(a, b, spacing), nearest(b, a, spacing), np.ones(len(a)), np.ones(len(b)))


def surfel_distances(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    *,
    unknown: np.ndarray | None = None,
    edge_is_border: bool = True,
) -> Distances:
    """Distances between the surface elements of two masks; the options are those of `border_cells`."""
    spacing = check_spacing(prediction, truth, spacing)
    options = dict(unknown=unknown, edge_is_border=edge_is_border)
    (a, a_areas), (b, b_areas) = border_cells(prediction, spacing, **options), border_cells(truth, spacing, **options)
    return Distances(nearest(a, b, spacing), nearest(b, a, spacing), a_areas, b_areas)


def nearest(points: np.ndarray, others: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """(N, n) and (M, n) indices -> (N,) mm from each point to the nearest of the others; inf where there is none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    if len(points) + len(others) > MANY_POINTS:
        low = np.minimum(points.min(0), others.min(0))
        away = np.ones(np.maximum(points.max(0), others.max(0)) - low + 1, bool)
        away[tuple((others - low).T)] = False
        return ndimage.distance_transform_edt(away, sampling=spacing)[tuple((points - low).T)]
    tree = cKDTree(others * np.asarray(spacing), leafsize=32, balanced_tree=False, compact_nodes=False)
    return tree.query(points * np.asarray(spacing))[0]


def hd(distances: Distances) -> float:
    """Hausdorff distance: the largest of all distances."""
    return max(float(values.max()) for values, _ in distances.sides)


def hd95_max(distances: Distances) -> float:
    """The larger of the two directed 95th percentiles, interpolated linearly."""
    return max(float(np.percentile(values, 95)) for values, _ in distances.sides)


def hd95_pooled(distances: Distances) -> float:
    """The 95th percentile of the distances of both directions together, interpolated linearly."""
    return float(np.percentile(np.concatenate([values for values, _ in distances.sides]), 95))


def hd95_surfel(distances: Distances) -> float:
    """The larger of the two directed distances below which 95 % of the surface's area lies, not interpolated."""
    found = []
    for values, sizes in distances.sides:
        order = np.argsort(values, kind="stable")
        share = np.cumsum(sizes[order]) / sizes.sum()
        found.append(float(values[order][min(np.searchsorted(share, 0.95), len(values) - 1)]))
    return max(found)


def assd(distances: Distances) -> float:
    """Average symmetric surface distance: the mean over the points of both borders together."""
    return sum(float(values @ sizes) for values, sizes in distances.sides) / _size(distances)


def masd(distances: Distances) -> float:
    """Mean average surface distance: the mean of the two directed means."""
    return sum(float(values @ sizes / sizes.sum()) for values, sizes in distances.sides) / 2


def rmsd(distances: Distances) -> float:
    """Root of the mean squared distance over the points of both borders together."""
    return float((sum(values**2 @ sizes for values, sizes in distances.sides) / _size(distances)) ** 0.5)


def nsd(distances: Distances, tolerance: float) -> float:
    """Normalized surface Dice: the share of both borders together that lies within `tolerance` mm of the other."""
    within = sum(float(sizes[values <= tolerance * ROUNDING].sum()) for values, sizes in distances.sides)
    return within / _size(distances)


def boundary_f(distances: Distances, tolerance: float) -> float:
    """Harmonic mean of the shares of the predicted and of the true border that lie within `tolerance` mm."""
    shares = [float(sizes[values <= tolerance * ROUNDING].sum() / sizes.sum()) for values, sizes in distances.sides]
    return 2 * shares[0] * shares[1] / sum(shares) if any(shares) else 0.0


def boundary_iou(
    prediction: np.ndarray,
    truth: np.ndarray,
    width: float,
    spacing: Sequence[float] | None = None,
    *,
    unknown: np.ndarray | None = None,
    edge_is_border: bool = True,
) -> float:
    """IoU of the two masks' inner bands. Without a spacing a band holds what `width` erosions by a square (a cube) take
    away, as in the paper; with one, the voxels whose centre is at most `width` mm from one outside. nan if both empty.
    """
    check_spacing(prediction, truth, spacing)
    bands = [_band(mask, width, spacing, unknown, edge_is_border) for mask in (prediction, truth)]
    union = np.count_nonzero(bands[0] | bands[1])
    if not union:  # masks that fill the whole array have no band
        return 1.0 if prediction.any() and truth.any() else float("nan")
    return float(np.count_nonzero(bands[0] & bands[1]) / union)


def _band(
    mask: np.ndarray,
    width: float,
    spacing: Sequence[float] | None,
    unknown: np.ndarray | None,
    edge_is_border: bool,
) -> np.ndarray:
    filled = np.pad(mask if unknown is None else mask | unknown, int(edge_is_border))
    if filled.all():
        return np.zeros_like(mask)
    if spacing is None:
        depth = ndimage.distance_transform_cdt(filled, "chessboard")
    else:
        depth = ndimage.distance_transform_edt(filled, sampling=spacing)
    if edge_is_border:
        depth = depth[(slice(1, -1),) * mask.ndim]
    band = mask & (depth <= width * ROUNDING)
    return band if unknown is None else band & ~unknown


def check_spacing(
    prediction: np.ndarray, truth: np.ndarray, spacing: Sequence[float] | None = None
) -> tuple[float, ...]:
    """The spacing (n,) in mm, 1 where none is given, of two masks of one shape; ValueError for others."""
    if prediction.shape != truth.shape:
        raise ValueError(f"prediction and truth must have one shape, got {prediction.shape} and {truth.shape}")
    spacing = (1.0,) * truth.ndim if spacing is None else tuple(float(s) for s in spacing)
    if len(spacing) != truth.ndim or not all(0 < s < np.inf for s in spacing):
        raise ValueError(f"expected {truth.ndim} positive numbers of mm as spacing, got {spacing}")
    return spacing


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Of a box of so many voxels, in mm: no distance within it is larger."""
    return sum((n * s) ** 2 for n, s in zip(shape, spacing, strict=True)) ** 0.5


def _size(distances: Distances) -> float:
    return float(distances.prediction_sizes.sum() + distances.truth_sizes.sum())
