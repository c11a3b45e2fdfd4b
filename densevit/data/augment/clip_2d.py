"""Augmentation of clips: what `Augment2D` does to a picture, done alike to all frames."""

from dataclasses import replace
from random import Random

import numpy as np

from densevit.data.augment.augment_2d import Augment2D
from densevit.data.dataset import Sample
from densevit.labels import IGNORE


class ClipAugment(Augment2D):
    """A clip (C, T, H, W) and its label (T, H, W) of bytes -> the same, its frames of size `crop_size`.

    Whether a crop is drawn again, because one class fills it, is asked of the frame with most labelled pixels.
    """

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        self.pipeline.set_random_state(rng, Random(int(rng.integers(1 << 62))))
        frames = np.ascontiguousarray(sample.image.transpose(1, 2, 3, 0))
        if frames.dtype != np.uint8:
            frames = frames.astype(np.float32)
        first = int((sample.label != IGNORE).sum((1, 2)).argmax())
        done = self.pipeline(image=frames[first], mask=sample.label[first], images=frames, masks=sample.label)
        image, label = np.stack([*done["images"]]), np.stack([*done["masks"]])
        return replace(sample, image=image.transpose(3, 0, 1, 2), label=label, foreground=None)
