"""Cityscapes' iIoU of label maps (*S): IoU in which every instance of a class weighs as one of average size."""

from collections.abc import Mapping
from math import nan

import numpy as np


class InstanceIoU:
    """iIoU = tp / (tp + fp + fn) over many pictures, with the pixels of each true instance weighed by the average size
    of its class over the instance's own: a far pedestrian counts as much as a near one. Wrong pixels of no instance
    (fp) count once.

    `average_sizes` is label -> pixels, and names the classes that have instances.
    """

    def __init__(self, average_sizes: Mapping[int, float], *, ignore_index: int = 255):
        self.average_sizes, self.ignore_index = dict(average_sizes), ignore_index
        self.sums = {label: np.zeros(3) for label in self.average_sizes}  # weighted tp, fp, weighted fn

    def update(self, prediction: np.ndarray, truth: np.ndarray, instances: np.ndarray) -> None:
        """Add a picture: labels, and a number for each true instance; 0 is no instance, such as a crowd."""
        if not prediction.shape == truth.shape == instances.shape:
            shapes = f"{prediction.shape}, {truth.shape} and {instances.shape}"
            raise ValueError(f"prediction, truth and instances must have one shape, got {shapes}")
        known = truth != self.ignore_index
        for label, sums in self.sums.items():
            here = truth == label
            _, at = np.unique(instances[here & (instances != 0)], return_inverse=True)
            hit = prediction[here & (instances != 0)] == label
            sizes = np.bincount(at)
            weights = self.average_sizes[label] / sizes[at]
            sums += [weights[hit].sum(), np.count_nonzero((prediction == label) & known & ~here), weights[~hit].sum()]

    def compute(self) -> dict[int, float]:
        """Label -> iIoU; nan for a class that is neither true nor predicted."""
        return {label: float(sums[0] / sums.sum()) if sums.sum() else nan for label, sums in self.sums.items()}
