"""Augmentation of street scenes and photos: random scale, crop, flip and colours, as an albumentations pipeline.

Random scale and crop are one step: the window is chosen first, and only what it covers is resized.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import cv2
import numpy as np

from densevit.data.augment.extra_2d import A, create_extra
from densevit.data.augment.options import NO_SIDES, AugmentOptions
from densevit.data.dataset import Sample
from densevit.labels import IGNORE
from densevit.sides import Pairs, Sides, mirrored_classes

_TRIES = 10
MIRRORS = (A.HorizontalFlip, A.VerticalFlip, A.Transpose, A.D4)
Size = tuple[int, int]
Range = tuple[float, float]


class Augment2D:
    """A picture (C, H, W) and its label (H, W) of bytes -> the same of size `crop_size`.

    `fill` are the values beyond the border, by channel or one for all. Classes that are each other's mirror image, as
    `sides` says, change places with a horizontal flip; ValueError for other mirror images of them.
    """

    def __init__(self, options: AugmentOptions, *, fill: Sequence[float], sides: Sides = NO_SIDES):
        height, width = options.crop_size
        crop = dict(scale=options.scale, base_size=options.base_size, cat_max_ratio=options.cat_max_ratio)
        pairs = sides.check(what="augment.flip", otherwise="set it to 0") if options.mirrors else ()
        steps = [ScaledCrop(crop_size=options.crop_size, **crop), SidedFlip(pairs, p=options.flip)]
        fill = plain_fill(fill)
        steps += [PhotometricDistortion(strict=bool(options.photometric))] if options.photometric is not False else []
        extra = [create_extra(entry, fill=fill, size=options.crop_size) for entry in options.extra]
        steps += [check_mirrors(transform, sides) for transform in extra]
        pad = dict(border_mode=cv2.BORDER_CONSTANT, fill=fill, fill_mask=IGNORE)
        steps.append(A.PadIfNeeded(min_height=height, min_width=width, position="top_left", **pad))
        self.pipeline = A.Compose(steps)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        self.pipeline.set_random_state(rng, Random(int(rng.integers(1 << 62))))
        given = sample.image.transpose(1, 2, 0)
        if given.dtype not in (np.uint8, np.uint16, np.int16, np.float32):
            given = given.astype(np.float32)  # which OpenCV resizes, and which the network sees
        done = self.pipeline(image=given, mask=sample.label)
        return replace(sample, image=done["image"].transpose(2, 0, 1), label=done["mask"], foreground=None)


def plain_fill(fill: Sequence[float]) -> float | tuple[float, ...]:
    """One number a channel, or the mean of them: OpenCV takes up to four."""
    return tuple(fill) if 1 < len(fill) <= 4 else sum(fill) / len(fill)


def check_mirrors(transform: A.BasicTransform, sides: Sides) -> A.BasicTransform:
    """The transform; ValueError for one that mirrors pictures whose classes have sides."""
    if isinstance(transform, MIRRORS) and sides.any:
        raise ValueError(
            f"augment.extra: {type(transform).__name__} mirrors pictures without exchanging left and right "
            "classes; use augment.flip, which does, or declare that there are none by inference.sides=[]"
        )
    return transform


class SidedFlip(A.HorizontalFlip):
    """A horizontal flip in which the classes of `pairs` change places."""

    def __init__(self, pairs: Pairs = (), *, p: float):
        super().__init__(p=p)
        self.mirrored = np.array(mirrored_classes(IGNORE + 1, pairs), np.uint8) if pairs else None

    def apply_to_mask(self, mask: np.ndarray, **params: object) -> np.ndarray:
        flipped = super().apply_to_mask(mask, **params)
        return flipped if self.mirrored is None else self.mirrored[flipped]


class ScaledCrop(A.DualTransform):
    """Random scale, then random crop, with just the window resized; an axis shorter than the crop stays so."""

    def __init__(self, *, scale: Range, base_size: Size | None, crop_size: Size, cat_max_ratio: float):
        super().__init__(p=1.0)
        self.scale = scale
        self.base_size = base_size
        self.crop_size = crop_size
        self.cat_max_ratio = cat_max_ratio

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        """The window in source pixels, and the size it is resized to."""
        label = data["mask"]
        height, width = label.shape
        base = self.base_size or (height, width)
        fit = min(max(base) / max(height, width), min(base) / min(height, width))
        ratio = fit * self.random_generator.uniform(*self.scale)
        (rows, out_rows), (columns, out_columns) = (
            _axis(length, crop, ratio=ratio) for length, crop in zip((height, width), self.crop_size, strict=True)
        )
        size = (out_rows, out_columns)
        for _ in range(1 + _TRIES):
            top = int(self.random_generator.integers(height - rows + 1))
            left = int(self.random_generator.integers(width - columns + 1))
            window = (slice(top, top + rows), slice(left, left + columns))
            if self.cat_max_ratio >= 1:
                break
            counts = cv2.calcHist([_resize_label(label[window], size)], [0], None, [256], [0, 256]).ravel()[:IGNORE]
            if np.count_nonzero(counts) > 1 and counts.max() < self.cat_max_ratio * counts.sum():
                break
        return dict(window=window, size=size)

    def apply(self, img: np.ndarray, window: tuple[slice, slice], size: Size, **params: object) -> np.ndarray:
        resized = cv2.resize(img[window], size[::-1], interpolation=cv2.INTER_LINEAR)
        return resized.reshape(*size, img.shape[2])  # OpenCV drops an axis of one channel

    def apply_to_mask(self, mask: np.ndarray, window: tuple[slice, slice], size: Size, **params: object) -> np.ndarray:
        return _resize_label(mask[window], size)


def _axis(length: int, crop: int, *, ratio: float) -> tuple[int, int]:
    """Source pixels that the crop covers along one axis, and the pixels they become."""
    scaled = max(1, round(length * ratio))
    if scaled <= crop:
        return length, scaled
    return min(length, max(1, round(crop / ratio))), crop


def _resize_label(label: np.ndarray, size: Size) -> np.ndarray:
    # The exact kind samples at pixel centres, as the linear resize of the image does.
    return cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


class PhotometricDistortion(A.ImageOnlyTransform):
    """Brightness +-32, contrast and saturation x 0.5 to 1.5, hue +-18 of 180; each with probability one half.

    The order is brightness, contrast, saturation, hue, with contrast moved to the end half of the time, as in SSD
    (https://arxiv.org/abs/1512.02325) and the segmentation recipes that took it over. Other pictures than 8-bit RGB
    stay as they are, or raise ValueError with `strict`.
    """

    def __init__(self, *, strict: bool = False):
        super().__init__(p=1.0)
        self.strict = strict

    def get_params(self) -> dict:
        """None stands for a step that is left out."""
        rng = self.random_generator
        steps = dict(
            brightness=rng.uniform(-32, 32),
            contrast=rng.uniform(0.5, 1.5),
            saturation=rng.uniform(0.5, 1.5),
            hue=int(rng.integers(-18, 19)),
        )
        taken = rng.random(len(steps)) < 0.5
        chosen = {name: value if take else None for (name, value), take in zip(steps.items(), taken, strict=True)}
        return dict(chosen=chosen, contrast_first=bool(rng.random() < 0.5))

    def apply(self, img: np.ndarray, chosen: dict, contrast_first: bool, **params: object) -> np.ndarray:
        brightness, contrast, saturation, hue = chosen.values()
        if img.dtype != np.uint8 or img.shape[2:] != (3,):
            if self.strict:
                raise ValueError(
                    f"photometric=True changes 8-bit RGB, got {img.dtype} of shape {img.shape}; set it to False"
                )
            return img
        values = np.arange(256, dtype=np.float32)
        before = values if brightness is None else _round(values + brightness)
        stretched = values if contrast is None else _round(values * contrast)
        img = _look_up(img, stretched[before.astype(np.uint8)] if contrast_first else before)
        if saturation is not None or hue is not None:  # in OpenCV's HSV, where hue has 180 steps
            levels = np.arange(256)
            scaled = levels if saturation is None else _round(levels * saturation)
            table = np.stack([(levels + (hue or 0)) % 180, scaled, levels], axis=-1).astype(np.uint8)
            hsv = cv2.LUT(cv2.cvtColor(img, cv2.COLOR_RGB2HSV), table[None])
            img = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
        return img if contrast_first else _look_up(img, stretched)


def _round(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255)


def _look_up(img: np.ndarray, table: np.ndarray) -> np.ndarray:
    return img if np.array_equal(table, np.arange(256)) else cv2.LUT(img, table.astype(np.uint8))
