"""One case, label maps (*S) of prediction and truth -> a record for each structure with every metric asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import ceil, nan, prod

import numpy as np
from scipy import ndimage
from torch import Tensor

from densevit.metrics import distances as mm
from densevit.metrics.centreline import centreline_dice
from densevit.metrics.confusion import ConfusionMatrix, as_tensor, check_maps
from densevit.metrics.lesions import Lesion, score_lesions
from densevit.metrics.options import LESIONS, SURFELS, SURFELS_WITHIN, VOXELS, VOXELS_WITHIN, MeasureOptions
from densevit.metrics.records import Counts, Record, kind_of

Maps = Tensor | np.ndarray
Classes = Sequence[str] | Mapping[str, int | Sequence[int]]
Slices = tuple[slice, ...]

MOST_LABELS = 4096
NO_LABEL = -(2**40)


def measure(
    prediction: Maps,
    truth: Maps,
    classes: Classes,
    spacing: Sequence[float] | None = None,
    options: MeasureOptions | None = None,
    *,
    case: str = "",
) -> list[Record]:
    """Compare two label maps (*S) of any rank: a record for each structure, in the order of `classes`.

    `classes` are the names of labels 0, 1, ..., of which 0 is background, or a label or several (a region) by name:
    `{"whole tumour": (1, 2, 3), "core": (1, 3)}`; a label that is named here is never ignored. `spacing` is in mm, 1
    where not given: distances are then in pixels. A case without a prediction is measured with one of zeros.
    """
    options = options or MeasureOptions()
    structures = _structures(classes, options)
    if any(options.ignore_index in labels for labels in structures.values()):
        options = replace(options, ignore_index=NO_LABEL)
    prediction, truth = as_tensor(prediction), as_tensor(truth)
    check_maps(prediction, truth)
    if not prod(truth.shape):
        raise ValueError(f"expected label maps with voxels, got a truth of shape {tuple(truth.shape)}")
    matrix = ConfusionMatrix(_num_classes(classes, prediction, truth), ignore_index=options.ignore_index)
    matrix.update(prediction, truth)
    prediction, truth = _as_array(prediction), _as_array(truth)
    spacing = mm.check_spacing(prediction, truth, spacing)
    ignored = truth == options.ignore_index
    ignored = ignored if ignored.any() else None
    boxes = [_boxes(prediction), _boxes(truth)] if options.metrics else []
    margin = 1
    if ignored is not None and "boundary_iou" in options.metrics:  # what lies behind ignored voxels matters as well
        margin += ceil(options.width_in(truth.shape) / (1 if options.boundary_width is None else min(spacing)))
    records, diagonal = [], mm.diagonal(truth.shape, spacing)
    for name, labels in structures.items():
        count = Counts.of(matrix.counts.numpy(), labels)
        values, lesions = dict.fromkeys(options.columns, nan), ()
        if options.metrics and count.status != "absent":
            box = _joint(boxes, labels, truth.shape, margin)
            masks = [_select(part[box], labels) for part in (prediction, truth)]
            unknown = None if ignored is None else ignored[box]
            values, lesions = measure_masks(*masks, spacing, options, unknown=unknown, whole=truth.shape)
        records.append(Record(case, name, count, count.values() | values, diagonal, prod(spacing), lesions))
    return records


def measure_masks(
    prediction: np.ndarray,
    truth: np.ndarray,
    spacing: Sequence[float] | None = None,
    options: MeasureOptions | None = None,
    *,
    unknown: np.ndarray | None = None,
    whole: Sequence[int] | None = None,
) -> tuple[dict[str, float], tuple[Lesion, ...]]:
    """The metrics of `options` of two bool masks (*S), which may be a box of an array of size `whole`, and the lesions.

    Distances of which one mask is empty are nan. Where `unknown` is set neither mask counts.
    """
    options, whole = options or MeasureOptions(), whole or truth.shape
    spacing = mm.check_spacing(prediction, truth, spacing)
    if unknown is not None:
        prediction, truth = prediction & ~unknown, truth & ~unknown
        unknown = None if options.ignored_is_border else unknown
    masks, wanted = (prediction, truth), set(options.metrics)
    equal = bool(truth.any()) and np.array_equal(prediction, truth)
    how = dict(unknown=unknown, edge_is_border=options.edge_is_border)
    values, lesions = {}, ()
    if wanted & {*VOXELS, *VOXELS_WITHIN}:
        distances = mm.border_distances(*masks, spacing, connectivity=options.connectivity, **how)
        values |= _of_distances(distances, VOXELS, VOXELS_WITHIN, options, equal=equal)
    if wanted & {*SURFELS, *SURFELS_WITHIN}:
        distances = mm.surfel_distances(*masks, spacing, **how)
        values |= _of_distances(distances, SURFELS, SURFELS_WITHIN, options, equal=equal)
    if "boundary_iou" in wanted:
        units = None if options.boundary_width is None else spacing
        values["boundary_iou"] = mm.boundary_iou(*masks, options.width_in(whole), units, **how)
    if "cldice" in wanted:
        values["cldice"] = centreline_dice(*masks)
    if wanted & {*LESIONS}:
        penalty = mm.diagonal(whole, spacing) if options.lesions.penalty is None else options.lesions.penalty
        rules = replace(options.lesions, penalty=penalty)
        scores = score_lesions(*masks, spacing, rules, with_hd95="lesion_hd95" in wanted)
        values |= {name: of(scores) for name, of in LESIONS.items()}
        lesions = scores.lesions
    return {column: values[column] for column in options.columns}, lesions


def _of_distances(
    distances: mm.Distances,
    plain: Mapping[str, Callable[[mm.Distances], float]],
    within: Mapping[str, Callable[[mm.Distances, float], float]],
    options: MeasureOptions,
    *,
    equal: bool,
) -> dict[str, float]:
    """nan where a mask has no border; equal masks without one, which fill the whole array, are as good as can be."""
    names = [*plain, *(f"{name}@{t:g}" for name in within for t in options.tolerances)]
    if not distances.defined:
        return {name: kind_of(name).best if equal else nan for name in names}
    values = {name: of(distances) for name, of in plain.items() if name in options.metrics}
    return values | {f"{name}@{t:g}": of(distances, t) for name, of in within.items() for t in options.tolerances}


def _structures(classes: Classes, options: MeasureOptions) -> dict[str, tuple[int, ...]]:
    if isinstance(classes, Mapping):
        return {name: tuple(np.atleast_1d(labels).tolist()) for name, labels in classes.items()}
    if len(set(classes)) != len(classes):
        raise ValueError(f"every class needs a name of its own, got {list(classes)}")
    return {name: (i,) for i, name in enumerate(classes) if i or options.include_background}


def _num_classes(classes: Classes, prediction: Tensor, truth: Tensor) -> int:
    """Labels beyond the named ones may occur where structures are a mapping."""
    if not isinstance(classes, Mapping):
        return len(classes)
    tops = (np.max(labels) for labels in (*classes.values(), _as_array(prediction), _as_array(truth)))
    num_classes = 1 + max(1, *map(int, tops))
    if num_classes > MOST_LABELS:
        raise ValueError(f"labels up to {num_classes - 1} are instances rather than classes; map them to classes")
    return num_classes


def _as_array(labels: Tensor) -> np.ndarray:
    array = labels.cpu().numpy()
    return array.view(np.uint8) if array.dtype == bool else array


def _select(labels: np.ndarray, wanted: tuple[int, ...]) -> np.ndarray:
    return labels == wanted[0] if len(wanted) == 1 else np.isin(labels, wanted)


def _boxes(labels: np.ndarray) -> dict[int, Slices]:
    """Label above 0 -> the box that holds all its voxels."""
    return {i: box for i, box in enumerate(ndimage.find_objects(labels), start=1) if box is not None}


def _joint(boxes: Sequence[dict[int, Slices]], labels: tuple[int, ...], shape: tuple[int, ...], margin: int) -> Slices:
    """The box around all boxes of these labels and `margin` voxels more, within the array."""
    if 0 in labels:
        return tuple(slice(0, n) for n in shape)
    found = [known[label] for known in boxes for label in labels if label in known]
    spans = ((min(s.start for s in axis), max(s.stop for s in axis)) for axis in zip(*found, strict=True))
    return tuple(slice(max(0, a - margin), min(n, b + margin)) for (a, b), n in zip(spans, shape, strict=True))
