"""Confusion matrix of label maps of any rank, counted in integers, so that no number of pixels is too many."""

import numpy as np
import torch
from torch import Tensor

from densevit.metrics.scores import SegmentationScores, scores_from_counts
from densevit.processes import gather, in_group

# Label maps are counted in pieces, so that the temporaries stay small for a whole volume.
PIECE = 2**20


class ConfusionMatrix:
    """Counts of (label, prediction) pairs over many images: `counts` is (K, K) int64, rows are the truth.

    Pixels whose label is `ignore_index` count nowhere. `reduce` sums over the ranks of torch.distributed.
    """

    def __init__(self, num_classes: int, *, ignore_index: int = 255):
        if num_classes < 2:
            raise ValueError(
                f"a confusion matrix needs at least 2 classes, got num_classes={num_classes}; "
                "for one kind of foreground count the background too: num_classes=2, labels 0 and 1"
            )
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.reset()

    def reset(self) -> None:
        self.counts = torch.zeros(self.num_classes, self.num_classes, dtype=torch.int64)
        self._reduced = False

    def update(self, prediction: Tensor | np.ndarray, label: Tensor | np.ndarray) -> None:
        """Add the pixels of two label maps of one shape, any rank and integer dtype; uint8 is the fastest.

        The counting runs on the prediction's device. A value that is no class, at a pixel that is not ignored, raises
        ValueError and leaves the counts as they were.
        """
        self._check_open()
        prediction, label = as_tensor(prediction), as_tensor(label)
        check_maps(prediction, label)
        counts = torch.zeros_like(self.counts)
        pieces = zip(prediction.reshape(-1).split(PIECE), label.reshape(-1).split(PIECE), strict=True)
        for predicted, truth in pieces:
            counts += self._count(predicted, truth.to(predicted.device))
        self.counts += counts

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of another matrix over the same classes."""
        self._check_open()
        if other.num_classes != self.num_classes:
            raise ValueError(f"cannot merge {other.num_classes} classes into {self.num_classes}; they must be the same")
        self.counts += other.counts

    def reduce(self) -> "ConfusionMatrix":
        """Sum the counts over all ranks, in place; a second call adds nothing, and `reset` opens the matrix again."""
        if in_group() and not self._reduced:
            self.counts = torch.stack(gather(self.counts)).sum(0)
            self._reduced = True
        return self

    def compute(self) -> SegmentationScores:
        return scores_from_counts(self.counts)

    def _count(self, prediction: Tensor, label: Tensor) -> Tensor:
        """(N,), (N,) -> (K, K). Classes take slots 1 to K; slots 0 and K + 1 catch what lies below and above them."""
        k, slots = self.num_classes, self.num_classes + 2
        index = _clamp(label, k).mul_(slots).add_(_clamp(prediction, k)).add_(slots + 1)
        counts = torch.bincount(index, minlength=slots * slots).reshape(slots, slots).cpu()
        ignored = int(torch.count_nonzero(self._ignored(label)))
        if 0 <= self.ignore_index < k:
            ignored -= int(counts[self.ignore_index + 1].sum())
            counts[self.ignore_index + 1] = 0
        if int(counts[[0, -1]].sum()) != ignored:
            raise ValueError(self._complaint("label", label[~self._ignored(label)]))
        if counts[1:-1, [0, -1]].any():
            raise ValueError(self._complaint("prediction", prediction[~self._ignored(label)]))
        return counts[1:-1, 1:-1]

    def _ignored(self, label: Tensor) -> Tensor:
        """Torch would compare uint8 labels of 255 with -1 as equal."""
        limits = torch.iinfo(torch.uint8 if label.dtype == torch.bool else label.dtype)
        if not limits.min <= self.ignore_index <= limits.max:
            return torch.zeros_like(label, dtype=torch.bool)
        return label == self.ignore_index

    def _complaint(self, what: str, values: Tensor) -> str:
        wrong = sorted({v for v in values.unique().tolist() if not 0 <= v < self.num_classes})
        return (
            f"the {what} holds {', '.join(map(str, wrong[:5]))}, but the {self.num_classes} classes are 0 to "
            f"{self.num_classes - 1} and {self.ignore_index} is ignored; map or ignore the other values first"
        )

    def _check_open(self) -> None:
        if self._reduced:
            raise ValueError("these counts are already summed over the ranks; call reset() before adding more")


def as_tensor(values: Tensor | np.ndarray) -> Tensor:
    """Arrays are copied, since torch takes no flipped, read-only or foreign ones, such as big-endian files have."""
    if isinstance(values, Tensor):
        return values
    array = np.array(values)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _clamp(values: Tensor, k: int) -> Tensor:
    """Any integer dtype -> int32 in -1 to k, where -1 and k stand for everything outside the classes."""
    if values.dtype == torch.int64:  # must be clamped before it is narrowed
        return values.clamp(-1, k).to(torch.int32)
    return values.to(torch.int32, copy=True).clamp_(-1, k)


def check_maps(prediction: Tensor, label: Tensor) -> None:
    """ValueError for maps of other than integers, or of two shapes."""
    for what, values in (("prediction", prediction), ("label", label)):
        if values.is_floating_point() or values.is_complex():
            raise ValueError(f"the {what} must hold integer class indices, got {values.dtype}; take argmax of logits")
    if prediction.shape != label.shape:
        raise ValueError(
            f"prediction and label must have one shape, got {tuple(prediction.shape)} and {tuple(label.shape)}; "
            "resize the prediction to the label's grid"
        )
