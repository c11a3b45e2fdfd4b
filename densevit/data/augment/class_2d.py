"""Augmentation of pictures that each are of one class: a crop of any size and shape, RandAugment, random erasing."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np

from densevit.data.augment.augment_2d import SidedFlip, check_mirrors, plain_fill
from densevit.data.augment.class_options import ClassAugmentOptions
from densevit.data.augment.extra_2d import A, create_extra
from densevit.data.augment.options import NO_SIDES
from densevit.data.augment.rand_augment import rand_augment
from densevit.data.dataset import Sample
from densevit.sides import Sides


class ClassAugment2D:
    """A picture (C, H, W) and a label map (H, W) of bytes, which moves with it -> the same of size `crop_size`.

    `fill` are the values beyond the border and of what is erased, by channel or one for all.
    """

    def __init__(self, options: ClassAugmentOptions, *, fill: Sequence[float], sides: Sides = NO_SIDES):
        pairs = sides.check(what="augment.flip", otherwise="set it to 0") if options.mirrors else ()
        fill = plain_fill(fill)
        steps = [A.RandomResizedCrop(options.crop_size, scale=options.area, ratio=options.ratio)]
        steps.append(SidedFlip(pairs, p=options.flip))
        if options.rand_augment is not None:
            steps.append(rand_augment(options.rand_augment, fill=fill))
        extra = [create_extra(entry, fill=fill, size=options.crop_size) for entry in options.extra]
        steps += [check_mirrors(transform, sides) for transform in extra]
        steps += [A.Erasing(fill=fill, p=options.erase)] if options.erase else []
        self.pipeline = A.Compose(steps)
        self.of_bytes = options.rand_augment is not None

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        given = sample.image.transpose(1, 2, 0)
        if self.of_bytes and (given.dtype != np.uint8 or given.shape[2] != 3):
            raise ValueError(
                f"rand_augment changes 8-bit RGB, got {given.dtype} of {given.shape[2]} channels; leave it out"
            )
        if given.dtype not in (np.uint8, np.float32):
            given = given.astype(np.float32)
        self.pipeline.set_random_state(rng, Random(int(rng.integers(1 << 62))))
        done = self.pipeline(image=given, mask=sample.label)
        return replace(sample, image=done["image"].transpose(2, 0, 1), label=done["mask"], foreground=None)
