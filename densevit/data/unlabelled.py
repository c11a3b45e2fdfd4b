"""Images without labels, as samples of training that say where an image ends."""

from dataclasses import replace

import numpy as np

from densevit.data.augment.options import AnyAugmentOptions
from densevit.data.dataset import Augment, Dataset, Sample
from densevit.data.stream import TrainStream, collate
from densevit.sides import Sides

APART = 1 << 40  # between seeds, so that they share no random numbers with samples that have labels


class Unlabelled(Dataset):
    """Training samples of pictures or volumes, whose label says what lies within the image: 0, and beyond it 255."""

    has_labels = True  # of that kind

    def __init__(self, images: Dataset):
        self.images, self.cases = images, images.cases
        self.spatial_dims, self.in_channels = images.spatial_dims, images.in_channels
        self.fill, self.normalization, self.slices = images.fill, images.normalization, images.slices

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        def change(sample: Sample, rng: np.random.Generator) -> Sample:
            return augment(replace(sample, label=np.zeros(sample.image.shape[1:], np.uint8), foreground=None), rng)

        return self.images.train_sample(index, augment=change, rng=rng)


def unlabelled_stream(images: Dataset, augment: AnyAugmentOptions, *, seed: int) -> TrainStream:
    """Endless augmented samples of them; crops are from anywhere, and sides are of no matter without classes."""
    made = augment.without_classes().create(fill=images.fill, sides=Sides(declared=True))
    return TrainStream(Unlabelled(images), made, seed=seed + APART)


class PairedStream:
    """Draws of a stream with labels, each with `ratio` draws of one without: a list of samples, the first labelled."""

    def __init__(self, labelled: TrainStream, unlabelled: TrainStream, *, ratio: int):
        self.labelled, self.unlabelled, self.ratio = labelled, unlabelled, ratio

    def __getitem__(self, draw: int) -> list[Sample]:
        first = draw * self.ratio
        return [self.labelled[draw], *(self.unlabelled[first + i] for i in range(self.ratio))]


def collate_pairs(pairs: list[list[Sample]]) -> dict:
    """The batch of the labelled ones, and that of the others as "unlabelled"."""
    return {**collate([first for first, *_ in pairs]), "unlabelled": collate([s for _, *rest in pairs for s in rest])}
