"""Lesions: connected components of two bool masks (*S) of any rank, which found which, and the scores of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, nan, prod

import numpy as np
from scipy import ndimage

from densevit.metrics.distances import check_spacing, diagonal, hd95_surfel, surfel_distances


@dataclass(frozen=True)
class LesionOptions:
    """What a lesion is and when it counts as found.

    Parts belong to one component if they touch at a face (connectivity 1) up to a corner (None). True lesions of which
    the copies, grown `dilation` times by one voxel over faces and edges, touch are one lesion, found by every predicted
    component that meets its grown copy. True lesions of at most `min_volume` mm^3 count in no lesion-wise score.
    A missed or false lesion has the distance `penalty` mm; None is the diagonal of the array's box.
    """

    connectivity: int | None = None
    dilation: int = 0
    min_volume: float = 0.0
    penalty: float | None = None
    min_iou: float = 0.5  # above which two components are one segment of the panoptic quality

    def __post_init__(self) -> None:
        if self.min_iou < 0.5 or self.dilation < 0:
            raise ValueError(f"min_iou must be 0.5 or more and dilation 0 or more, got {self.min_iou}, {self.dilation}")


@dataclass(frozen=True)
class Lesion:
    """One true lesion (missed: `dice` 0), or a predicted component that met none (`true` is False); mm^3 and mm."""

    true: bool
    found: bool
    volume: float
    dice: float
    hd95: float


@dataclass(frozen=True)
class LesionScores:
    """The lesions of one structure in one case, and the panoptic quality of its components.

    `dice` and `hd95` are means over the true lesions and the false ones; nan where there is none.
    """

    lesions: tuple[Lesion, ...]
    segmentation_quality: float
    recognition_quality: float

    @property
    def dice(self) -> float:
        return _mean(lesion.dice for lesion in self.lesions)

    @property
    def hd95(self) -> float:
        return _mean(lesion.hd95 for lesion in self.lesions)

    @property
    def f1(self) -> float:
        return f1_of_lesions(self.lesions)

    @property
    def panoptic_quality(self) -> float:
        return self.segmentation_quality * self.recognition_quality


def score_lesions(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    options: LesionOptions | None = None,
    *,
    with_hd95: bool = True,
) -> LesionScores:
    """Match the components of two masks; `with_hd95=False` leaves the distances nan, which is much faster."""
    spacing, options = check_spacing(prediction, truth, spacing), options or LesionOptions()
    penalty = diagonal(truth.shape, spacing) if options.penalty is None else options.penalty
    penalty = penalty if with_hd95 else nan
    predicted, count = _components(prediction, options)
    sizes = np.bincount(predicted.ravel(), minlength=count + 1)
    met = np.zeros(count + 1, bool)
    lesions = []
    for box, lesion, near in _true_lesions(truth, options):
        at = np.unique(predicted[box][near])
        at = at[at > 0]
        met[at] = True
        volume = int(np.count_nonzero(lesion))
        if volume * prod(spacing) <= options.min_volume:
            continue
        dice = 2 * np.count_nonzero(np.isin(predicted[box], at) & lesion) / (sizes[at].sum() + volume)
        distance = penalty
        if len(at) and with_hd95:
            whole = np.zeros_like(truth)
            whole[box] = lesion
            distance = hd95_surfel(surfel_distances(np.isin(predicted, at), whole, spacing))
        lesions.append(Lesion(True, len(at) > 0, volume * prod(spacing), float(dice), distance))
    missed = [Lesion(False, False, float(n) * prod(spacing), 0.0, penalty) for n in sizes[1:][~met[1:]]]
    return LesionScores((*lesions, *missed), *_qualities(predicted, _components(truth, options)[0], options.min_iou))


def f1_of_lesions(lesions: Iterable[Lesion]) -> float:
    """2 found / (2 found + missed + false); nan of none."""
    lesions = list(lesions)
    found = sum(lesion.found for lesion in lesions)
    return 2 * found / (found + len(lesions)) if lesions else nan


def f1_by_size(lesions: Iterable[Lesion], edges: Sequence[float]) -> dict[tuple[float, float], float]:
    """F1 of the lesions in each bin of volume, edges[i] <= mm^3 < edges[i + 1]; true ones count at their true volume,
    false ones at their predicted one. The last bin has no upper edge."""
    lesions = list(lesions)
    bins = zip(edges, [*edges[1:], inf], strict=True)
    return {(a, b): f1_of_lesions(lesion for lesion in lesions if a <= lesion.volume < b) for a, b in bins}


def _true_lesions(
    truth: np.ndarray, options: LesionOptions
) -> Iterable[tuple[tuple[slice, ...], np.ndarray, np.ndarray]]:
    """Of each lesion a box of the array, and in this box its mask and its grown copy."""
    grown, _ = _components(_grow(truth, options.dilation), options)
    for i, box in enumerate(ndimage.find_objects(grown), start=1):
        lesion = truth[box] & (grown[box] == i)
        yield box, lesion, _grow(lesion, options.dilation)


def _grow(mask: np.ndarray, times: int) -> np.ndarray:
    structure = ndimage.generate_binary_structure(mask.ndim, min(2, mask.ndim))
    return ndimage.binary_dilation(mask, structure, iterations=times) if times else mask


def _components(mask: np.ndarray, options: LesionOptions) -> tuple[np.ndarray, int]:
    return ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, options.connectivity or mask.ndim))


def _qualities(predicted: np.ndarray, true: np.ndarray, min_iou: float) -> tuple[float, float]:
    """Segmentation quality, the mean IoU of matched components, and recognition quality, their F1; nan of none."""
    sizes, true_sizes = np.bincount(predicted.ravel()), np.bincount(true.ravel())
    both = (predicted > 0) & (true > 0)
    pairs, overlaps = np.unique(np.stack([true[both], predicted[both]]), axis=1, return_counts=True)
    ious = overlaps / (true_sizes[pairs[0]] + sizes[pairs[1]] - overlaps)
    matched = ious[ious > min_iou]  # above one half no component has two partners
    total = len(sizes) + len(true_sizes) - 2
    if not total:
        return nan, nan
    return float(matched.mean()) if len(matched) else 0.0, 2 * len(matched) / total


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else nan
