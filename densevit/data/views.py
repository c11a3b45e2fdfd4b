"""Several views of each image of a set, for networks that learn without labels.

A list of views depends on (seed, draw number) alone, as a sample of `densevit.data.stream` does.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import replace
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from densevit.data.class_set import ClassDataset
from densevit.data.dataset import Dataset, Sample
from densevit.data.stream import TrainStream


class MultiCrop(Protocol):
    """A sample -> its views, arrays (C, *size) of the sizes in `sizes`; all chance comes from the generator."""

    sizes: Sequence[tuple[int, ...]]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> list[np.ndarray]: ...


class ViewStream(TorchDataset):
    """An endless data set addressed by draw number: views of an image, [(C, *size), ...], and its meta.

    Each epoch of len(dataset) draws is a new permutation.
    """

    def __init__(self, dataset: Dataset, views: MultiCrop, *, seed: int):
        self.views = views
        self.dataset = without_labels(dataset)
        self.stream = TrainStream(self.dataset, self._pack, seed=seed, labelled=False)

    def __getitem__(self, draw: int) -> tuple[list[Tensor], dict[str, Any]]:
        sample = self.stream[draw]
        parts = sample.image.flatten(1).split([prod(size) for size in self.views.sizes], dim=1)
        return [part.unflatten(1, size) for part, size in zip(parts, self.views.sizes, strict=True)], sample.meta

    def _pack(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """All views as one image (C, 1, N), which a set normalises by the whole image that they are of."""
        flat = [view.reshape(len(view), 1, -1) for view in self.views(sample, rng)]
        return replace(sample, image=np.concatenate(flat, axis=2), label=np.zeros(1, np.uint8), foreground=None)


def collate_views(samples: Sequence[tuple[list[Tensor], dict[str, Any]]]) -> dict[str, Any]:
    """Views of images -> dict(views [(B, C, *size) for each view], meta list)."""
    views, metas = zip(*samples, strict=True)
    return dict(views=[torch.stack(same) for same in zip(*views, strict=True)], meta=list(metas))


def without_labels(dataset: Dataset) -> Dataset:
    """The same images, whose label maps are not read; classes of whole images are left alone."""
    if isinstance(dataset, ClassDataset) or all(case.label is None for case in dataset.cases):
        return dataset
    dataset = copy(dataset)
    dataset.cases = [replace(case, label=None) for case in dataset.cases]
    return dataset
