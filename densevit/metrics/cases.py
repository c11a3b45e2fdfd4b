"""Dice of each case by itself: the convention for volumes, where a small organ of one patient counts as a large one."""

import torch
from torch import Tensor

from densevit.metrics.confusion import ConfusionMatrix


class CaseDice:
    """Collects the Dice of each class, one row a case: nan where neither label nor prediction has the class."""

    def __init__(self, num_classes: int, *, ignore_index: int = 255):
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self.rows: list[list[float]] = []

    def update(self, prediction: Tensor, label: Tensor) -> None:
        """Add a case: two label maps of one shape, of any rank."""
        matrix = ConfusionMatrix(self.num_classes, ignore_index=self.ignore_index)
        matrix.update(prediction, label)
        self.rows.append(matrix.compute().dice.tolist())

    def compute(self) -> Tensor:
        """(K,): the mean over the cases that have a value, nan where none has."""
        return torch.tensor(self.rows, dtype=torch.float64).reshape(-1, self.num_classes).nanmean(0)
