"""A baseline that looks at no intensities but those that tell a body from air: the commonest class at each place.

With `box=whole_scan` it looks at none at all: place then is place in the scan.

Legend: image (C, D, H, W), label (D, H, W), box: the first and last share of each axis, from 0 to 1.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.data.dataset import Dataset
from densevit.metrics import MeasureOptions, SegmentationScores, measure, scores_from_records

SIZE = (48, 48, 48)  # of the atlas
OUTLIERS = 0.01  # share of the bright voxels at each end of an axis that are no body, such as the table
Box = tuple[tuple[float, float], ...]
FindBox = Callable[[np.ndarray], Box]


def body_box(image: np.ndarray) -> Box:
    """The box of what is brighter than the mean of the first channel; along D the whole scan."""
    bright = image[0] > image[0].mean()
    box = [(0.0, 1.0)]
    for axis in (1, 2):
        counts = bright.sum(tuple(other for other in range(3) if other != axis))
        shares = np.cumsum(counts) / max(counts.sum(), 1)
        first, last = np.searchsorted(shares, (OUTLIERS, 1 - OUTLIERS))
        box.append((float(first) / len(counts), float(min(last + 1, len(counts))) / len(counts)))
    return tuple(box)


def whole_scan(image: np.ndarray) -> Box:
    """The box of everything."""
    return ((0.0, 1.0),) * (image.ndim - 1)


def atlas_scores(train_set: Dataset, val_set: Dataset, *, box: FindBox = body_box) -> SegmentationScores:
    """Scores of the atlas of `train_set` on the cases of `val_set`, on each scan's own grid."""
    votes = make_atlas(train_set, box=box)
    options, records = MeasureOptions((), ignore_index=val_set.ignore_index, include_background=True), []
    for i in range(len(val_set)):
        sample = val_set.evaluation_sample(i)
        label = torch.as_tensor(np.array(sample.label)).long()
        prediction = apply_atlas(votes, box(np.asarray(sample.image)), size=tuple(label.shape))
        records += measure(prediction, label, val_set.classes, None, options, case=str(i))
    return scores_from_records(records, by_case=True)


def make_atlas(dataset: Dataset, *, box: FindBox = body_box) -> Tensor:
    """(K, *SIZE): how many bodies have which class at a place, their boxes laid over one another."""
    votes = torch.zeros(dataset.num_classes, *SIZE)
    classes = torch.arange(dataset.num_classes)[:, None, None, None]
    for i in range(len(dataset)):
        sample = dataset[i]
        label = np.asarray(sample.label)
        inside = label[_slices(box(np.asarray(sample.image)), label.shape)]
        shares = (torch.from_numpy(np.array(inside)).long()[None] == classes).float()
        votes += F.interpolate(shares[None], size=SIZE, mode="trilinear", align_corners=False)[0]
    return votes


def apply_atlas(votes: Tensor, box: Box, *, size: tuple[int, ...]) -> Tensor:
    """The label map (*size) that puts the atlas into the box, and class 0 around it."""
    place = _slices(box, size)
    label = torch.zeros(size, dtype=torch.long)
    inside = tuple(part.stop - part.start for part in place)
    label[place] = F.interpolate(votes[None], size=inside, mode="trilinear", align_corners=False)[0].argmax(0)
    return label


def _slices(box: Box, size: tuple[int, ...]) -> tuple[slice, ...]:
    """The voxels of a box, at least one on each axis."""
    parts = []
    for (first, last), n in zip(box, size, strict=True):
        start = min(round(first * n), n - 1)
        parts.append(slice(start, max(round(last * n), start + 1)))
    return tuple(parts)
