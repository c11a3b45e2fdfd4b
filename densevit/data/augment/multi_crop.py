"""Several views of each picture or volume: two that show much of it, and small ones that show a part."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import cv2
import numpy as np

from densevit.data.augment.extra_2d import A
from densevit.data.augment.view_options import MultiCropOptions, VolumeMultiCropOptions
from densevit.data.dataset import Sample

SIGMA = (0.1, 2.0)  # of the blur


class MultiCrop2D:
    """A picture (C, H, W) -> views (C, *size), the two large ones first, in the type of the picture."""

    def __init__(self, options: MultiCropOptions):
        self.options, self.sizes = options, options.sizes
        places = [(options.global_size, options.global_area)] * 2 + [(options.local_size, options.local_area)]
        of_kind = list(enumerate(places))
        self.plain = [self._pipeline(*place, kind=kind, colors=False) for kind, place in of_kind]
        self.colored = [self._pipeline(*place, kind=kind, colors=True) for kind, place in of_kind]

    def _pipeline(self, size: tuple[int, int], area: tuple[float, float], *, kind: int, colors: bool) -> A.Compose:
        """Of the first view (kind 0), the second (1), or one of the small ones (2)."""
        options = self.options
        crop = A.RandomResizedCrop(size, scale=area, ratio=options.ratio, interpolation=cv2.INTER_CUBIC)
        steps = [crop, A.HorizontalFlip(p=options.flip)]
        if colors:
            *around, hue = options.jitter
            names = ("brightness", "contrast", "saturation")
            ranges = {name: (max(0.0, 1 - each), 1 + each) for name, each in zip(names, around, strict=True)}
            steps += [A.ColorJitter(**ranges, hue=(-hue, hue), p=options.jitter_prob), A.ToGray(p=options.grey)]
        steps.append(A.GaussianBlur(sigma_limit=SIGMA, p=options.blur[kind]))
        if colors and options.solarise[kind]:
            steps.append(A.Solarize(threshold_range=(0.5, 0.5), p=options.solarise[kind]))
        return A.Compose(steps)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> list[np.ndarray]:
        given = sample.image.transpose(1, 2, 0)
        is_rgb, asked = given.dtype == np.uint8 and given.shape[2] == 3, self.options.colors
        if asked and not is_rgb:
            raise ValueError(
                f"augment.colors=True changes 8-bit RGB, got {given.dtype} of {given.shape[2]} channels; leave it out"
            )
        if given.dtype not in (np.uint8, np.float32):
            given = given.astype(np.float32)
        first, second, small = self.colored if is_rgb and asked is not False else self.plain
        views = []
        for pipeline in [first, second] + [small] * self.options.num_locals:
            pipeline.set_random_state(rng, Random(int(rng.integers(1 << 62))))
            views.append(pipeline(image=given)["image"].transpose(2, 0, 1))
        return views


class MultiCrop3D:
    """A volume (C, D, H, W) -> views (C, *size) of float32, the two large ones first; 0 lies beyond the volume."""

    def __init__(self, options: VolumeMultiCropOptions, *, fill: Sequence[float]):
        self.sizes = options.sizes
        large, small = (each.without_classes().create(fill=fill) for each in (options.global_view, options.local_view))
        self.augments = [large] * 2 + [small] * options.num_locals

    def __call__(self, sample: Sample, rng: np.random.Generator) -> list[np.ndarray]:
        nothing = np.broadcast_to(np.uint8(0), sample.image.shape[1:])  # a label map that takes no memory
        sample = replace(sample, label=nothing, foreground=None)
        return [augment(sample, rng).image for augment in self.augments]
