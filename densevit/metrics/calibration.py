"""Calibration of probabilities (C, *S): whether what is said with 80 % is right in 80 % of the voxels."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class CalibrationScores:
    """`ece_top`: of the likeliest class, the mean over the voxels of |confidence - accuracy| of their bin.
    `ece_class` (C,): of each class's probability against whether the voxel is of the class, by bins likewise.
    `brier`: the mean over the voxels of the summed squared errors of all classes, 0 to 2.
    """

    ece_top: float
    ece_class: Tensor
    brier: float


class Calibration:
    """Collects voxels over many cases in `bins` bins of equal width; those labelled `ignore_index` count nowhere."""

    def __init__(self, num_classes: int, *, bins: int = 15, ignore_index: int = 255):
        self.num_classes, self.bins, self.ignore_index = num_classes, bins, ignore_index
        # Row 0 is the likeliest class, row 1 + c class c; columns: voxels, summed confidence, voxels that were right.
        self.sums = np.zeros((3, num_classes + 1, bins))
        self.squared = 0.0

    def update(self, probabilities: Tensor, truth: Tensor) -> None:
        """Add a case: probabilities (C, *S) that sum to 1 and integer labels (*S)."""
        if probabilities.shape != (self.num_classes, *truth.shape):
            raise ValueError(
                f"expected probabilities ({self.num_classes}, *S) and labels (*S), "
                f"got {tuple(probabilities.shape)} and {tuple(truth.shape)}"
            )
        truth = truth.to(probabilities.device)
        known = truth != self.ignore_index
        values, labels = probabilities[:, known].double(), truth[known].long()  # (C, N), (N,)
        if len(labels) and not set(labels.unique().tolist()) <= set(range(self.num_classes)):
            raise ValueError(f"labels must be 0 to {self.num_classes - 1}, or {self.ignore_index} where unknown")
        if values.numel() and not (
            values.min() > -1e-3 and torch.allclose(values.sum(0), torch.ones_like(values[0]), atol=1e-3)
        ):
            raise ValueError(
                "the probabilities of a voxel must be 0 or more and sum to 1; pass the softmax of the logits"
            )
        top = values.max(0) if len(values) else None
        self._add(0, top.values, top.indices == labels)
        for c, confidence in enumerate(values):
            right = labels == c
            self._add(1 + c, confidence, right)
            self.squared += float(((confidence - right.double()) ** 2).sum())

    def merge(self, other: "Calibration") -> None:
        """Add the cases of another one of the same classes and bins."""
        self.sums += other.sums
        self.squared += other.squared

    def compute(self) -> CalibrationScores:
        voxels, confidence, right = self.sums
        with np.errstate(invalid="ignore"):  # nan where no voxel is known
            errors = np.abs(confidence - right).sum(1) / voxels.sum(1)
            brier = self.squared / voxels[0].sum()
        return CalibrationScores(float(errors[0]), torch.from_numpy(errors[1:]), float(brier))

    def _add(self, row: int, confidence: Tensor, right: Tensor) -> None:
        # A bin holds its upper edge, as in (0, 1/15], (1/15, 2/15], ...
        at = (confidence * self.bins).ceil().long().sub_(1).clamp_(0, self.bins - 1)
        for sums, weights in zip(self.sums, (torch.ones_like(confidence), confidence, right.double()), strict=True):
            sums[row] += torch.bincount(at, weights, minlength=self.bins).cpu().numpy()
