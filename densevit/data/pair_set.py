"""Images with what is said of them: pictures or volumes, and one text or several for each."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from densevit.data.class_set import WholeImages
from densevit.data.dataset import Augment, Dataset, Sample
from densevit.registry import Registry

PAIR_DATASETS = Registry("data set of images and texts")


class PairDataset(WholeImages):
    """`images` is a set of pictures or volumes without labels, `texts` what is said of each, at least one text.

    `texts` of the set are all that differ, in the order in which they come, and `numbers` which of them belong to each
    image. A sample's label is the number of one of its texts, int64 of no axis: in training any, otherwise the first.
    """

    def __init__(self, images: Dataset, texts: Sequence[Sequence[str]]):
        if len(images) != len(texts) or not all(texts):
            raise ValueError(f"there are {len(images)} images and texts of {len(texts)}; give at least one for each")
        super().__init__(images, classes=("text",))
        self.texts = tuple(dict.fromkeys(text for each in texts for text in each))
        number = {text: i for i, text in enumerate(self.texts)}
        self.numbers = [np.array(sorted({number[text] for text in each}), dtype=np.int64) for each in texts]

    def __getitem__(self, index: int) -> Sample:
        return replace(self.images[index], label=self.numbers[index][0, ...])

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        def change(sample: Sample, rng: np.random.Generator) -> Sample:
            return augment(replace(sample, label=np.zeros(sample.image.shape[1:], np.uint8)), rng)

        sample = self.images.train_sample(index, augment=change, rng=rng)
        numbers = self.numbers[index]
        return replace(sample, label=numbers[int(rng.integers(len(numbers))), ...])

    def evaluation_sample(self, index: int) -> Sample:
        return replace(self.images.evaluation_sample(index), label=self.numbers[index][0, ...])
