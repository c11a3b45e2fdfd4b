"""Images that each are of one class: pictures, or volumes, and the number of a class for each of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from densevit.data.dataset import DATASETS, Augment, Dataset, Sample
from densevit.labels import IGNORE, check_classes, default_palette
from densevit.registry import Registry

CLASS_DATASETS = Registry("data set of classes")


def registry_of(dataset: Mapping[str, Any]) -> Registry:
    """The data sets of classes, where a description is of one of these, else those of label maps."""
    return CLASS_DATASETS if dataset.get("type") in CLASS_DATASETS.names() else DATASETS


class WholeImages(Dataset):
    """Images that each have one answer as a whole: a set of pictures or volumes without labels, and what it says of
    them to a model."""

    ignore_index = IGNORE
    has_cases = False
    has_labels = True
    label_values = None
    slices = None

    def __init__(self, images: Dataset, *, classes: Sequence[str]):
        self.images = images
        self.classes = check_classes(classes)
        self.palette = default_palette(len(self.classes))
        self.cases = images.cases
        self.spatial_dims, self.in_channels = images.spatial_dims, images.in_channels
        self.normalization, self.fill, self.spacing = images.normalization, images.fill, images.spacing
        self.exif, self.modality = getattr(images, "exif", None), getattr(images, "modality", None)


class ClassDataset(WholeImages):
    """`images` is a set of pictures or volumes without labels, `targets` the class of each, numbers from 0.

    All that a model needs to know of the images is theirs. A sample's label is its class, int64 of no axis.
    """

    def __init__(self, images: Dataset, targets: Sequence[int], *, classes: Sequence[str]):
        if len(images) != len(targets):
            raise ValueError(f"there are {len(images)} images and {len(targets)} classes; give one for each")
        super().__init__(images, classes=classes)
        self.targets = np.array(targets, dtype=np.int64)
        wrong = [i for i, target in enumerate(targets) if not 0 <= target < len(self.classes)]
        if wrong:
            raise ValueError(f"{images.names[wrong[0]]} has class {targets[wrong[0]]} of 0 to {len(self.classes) - 1}")

    def __getitem__(self, index: int) -> Sample:
        return replace(self.images[index], label=self.targets[index, ...])

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        """Augmentation gets the class as a label map: where it mirrors the image, it knows what becomes of a side."""
        target = self.targets[index, ...]
        fits = len(self.classes) <= IGNORE

        def change(sample: Sample, rng: np.random.Generator) -> Sample:
            label = np.full(sample.image.shape[1:], target if fits else 0, np.uint8)
            return augment(replace(sample, label=label), rng)

        sample = self.images.train_sample(index, augment=change, rng=rng)
        seen = sample.label[sample.label != IGNORE] if fits else ()
        return replace(sample, label=seen[:1].reshape(()).astype(np.int64) if len(seen) else target)

    def evaluation_sample(self, index: int) -> Sample:
        return replace(self.images.evaluation_sample(index), label=self.targets[index, ...])
