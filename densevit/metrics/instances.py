"""Cityscapes' iIoU of label maps (*S): IoU in which every instance of a class weighs as one of average size."""

from collections.abc import Hashable, Mapping, Sequence
from math import nan

import numpy as np


class InstanceIoU:
    """iIoU = tp / (tp + fp + fn) over many pictures, with the pixels of each true instance weighed by the average size
    of its class over the instance's own: a far pedestrian counts as much as a near one. Wrong pixels of no instance
    (fp) count once.

    `average_sizes` is label -> pixels, and names the classes that have instances. `structures` are labels by name, of
    which those are scored whose labels all have instances; by default each label is one.
    """

    def __init__(
        self,
        average_sizes: Mapping[int, float],
        structures: Mapping[Hashable, Sequence[int]] | None = None,
        *,
        ignore_index: int = 255,
    ):
        self.average_sizes, self.ignore_index = dict(average_sizes), ignore_index
        named = {label: (label,) for label in average_sizes} if structures is None else structures
        self.structures = {n: tuple(each) for n, each in named.items() if all(i in self.average_sizes for i in each)}
        self.sums = {name: np.zeros(3) for name in self.structures}  # weighted tp, fp, weighted fn

    def update(self, prediction: np.ndarray, truth: np.ndarray, instances: np.ndarray) -> None:
        """Add a picture: labels, and a number for each true instance; 0 is no instance, such as a crowd."""
        if not prediction.shape == truth.shape == instances.shape:
            shapes = f"{prediction.shape}, {truth.shape} and {instances.shape}"
            raise ValueError(f"prediction, truth and instances must have one shape, got {shapes}")
        known = truth != self.ignore_index
        for name, labels in self.structures.items():
            here, said = np.isin(truth, labels), np.isin(prediction, labels)
            counted = here & (instances != 0)
            _, at = np.unique(instances[counted], return_inverse=True)
            averages = np.select([truth[counted] == label for label in labels], [self.average_sizes[i] for i in labels])
            weights, hit = averages / np.bincount(at)[at], said[counted]
            self.sums[name] += [weights[hit].sum(), np.count_nonzero(said & known & ~here), weights[~hit].sum()]

    def merge(self, other: "InstanceIoU") -> None:
        """Add the pictures of another one of the same structures."""
        for name, sums in other.sums.items():
            self.sums[name] += sums

    def compute(self) -> dict[Hashable, float]:
        """Name or label -> iIoU; nan for what is neither true nor predicted."""
        return {name: float(sums[0] / sums.sum()) if sums.sum() else nan for name, sums in self.sums.items()}
