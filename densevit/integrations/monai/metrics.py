"""Dice of each case as a MONAI metric, for its loops and, through IgniteMetricHandler, for its evaluators."""

from collections.abc import Sequence

import torch
from monai.metrics import CumulativeIterationMetric
from torch import Tensor

from densevit.metrics import ConfusionMatrix


class CaseDiceMetric(CumulativeIterationMetric):
    """Dice of each class and case from exact integer counts, without one-hot maps; nan where nothing has the class.

    Called with predictions, class numbers (B, 1, *S) or logits (B, K, *S), and labels (B, 1, *S), or with lists of the
    same without B. Voxels of `ignore_index` do not count. `aggregate()` is the mean over the cases that have a value:
    (K,), or one number, the mean over classes, with `reduction="mean"`. The background (class 0) is left out of both
    unless `include_background`.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        include_background: bool = False,
        reduction: str = "mean",
        ignore_index: int = 255,
    ):
        super().__init__()
        if reduction not in ("mean", "classes"):
            raise ValueError(f"reduction must be 'mean' or 'classes', got {reduction!r}")
        self.num_classes = num_classes
        self.include_background = include_background
        self.reduction = reduction
        self.ignore_index = ignore_index

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None) -> Tensor:
        """(B, K) or, without background, (B, K - 1)."""
        if y is None or y.shape[1:2] != (1,) or y_pred.shape[1] not in (1, self.num_classes):
            raise ValueError(
                f"expected predictions (B, 1 or {self.num_classes}, *S) and labels (B, 1, *S), got "
                f"{tuple(y_pred.shape)} and {None if y is None else tuple(y.shape)}"
            )
        labels = y_pred[:, 0] if y_pred.shape[1] == 1 else y_pred.argmax(1)
        rows = []
        for prediction, label in zip(labels.long(), y[:, 0].long(), strict=True):
            matrix = ConfusionMatrix(self.num_classes, ignore_index=self.ignore_index)
            matrix.update(_plain(prediction), _plain(label))
            rows.append(matrix.compute().dice)
        return torch.stack(rows)[:, 0 if self.include_background else 1 :].float()

    def aggregate(self) -> Tensor:
        """The mean over cases; see the class."""
        rows: Sequence[Tensor] | Tensor = self.get_buffer()
        classes = torch.as_tensor(rows).double().nanmean(0)
        return classes.nanmean() if self.reduction == "mean" else classes


def _plain(x: Tensor) -> Tensor:
    return x.as_tensor() if hasattr(x, "as_tensor") else x
