"""RandAugment: a few random changes of 8-bit RGB, of place and of colour. https://arxiv.org/abs/1909.13719

The fifteen changes and their largest strengths are those of timm's increasing ones ("inc1"). At the same strength a
change is timm's, within rounding, but for these:

* Turns, shears and shifts interpolate linearly, where timm draws linear or cubic interpolation each time. Shears are
  about the middle, where timm's are about the upper left corner. Shifts are by whole pixels.
* Posterize keeps one bit at least, where timm's largest magnitude keeps none.
* Equalize counts the pixels of a value among those that are darker, where Pillow does not: pictures become lighter by a
  few levels of 255.

Strengths are drawn evenly from nothing up to that of the magnitude; timm draws them near the magnitude, or takes it.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from densevit.data.augment.class_options import RandAugmentOptions
from densevit.data.augment.extra_2d import A
from densevit.labels import IGNORE

_ENHANCED = ("brightness", "contrast", "saturation")
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13  # Pillow's, of which sharpness is the opposite


def rand_augment(options: RandAugmentOptions, *, fill: float | Sequence[float]) -> A.SomeOf:
    """`count` of the fifteen changes, a change perhaps twice; see `changes`."""
    return A.SomeOf(list(changes(options.magnitude, fill=fill).values()), n=options.count, replace=True, p=1.0)


def changes(magnitude: float, *, fill: float | Sequence[float]) -> dict[str, A.BasicTransform]:
    """The changes by the names that timm gives them, each with strengths up to that of `magnitude`, 0 to 10.

    Those of place bring in `fill` from beyond the border, and ignored pixels in a label map.
    """
    part, kept = magnitude / 10, dict(fill=fill, fill_mask=IGNORE, p=1.0)
    shear, shift, around = np.degrees(np.arctan(0.3 * part)), 0.45 * part, (1 - 0.9 * part, 1 + 0.9 * part)
    unchanged = dict(brightness=(1, 1), contrast=(1, 1), saturation=(1, 1), hue=(0, 0))
    of_place = dict(
        Rotate=dict(rotate=(-30 * part, 30 * part)),
        ShearX=dict(shear=dict(x=(-shear, shear), y=(0, 0))),
        ShearY=dict(shear=dict(x=(0, 0), y=(-shear, shear))),
        TranslateXRel=dict(translate_percent=dict(x=(-shift, shift), y=(0, 0))),
        TranslateYRel=dict(translate_percent=dict(x=(0, 0), y=(-shift, shift))),
    )
    enhanced = {name: A.ColorJitter(**{**unchanged, name: around}, p=1.0) for name in _ENHANCED}
    return {
        "AutoContrast": A.AutoContrast(method="pil", p=1.0),
        "Equalize": A.Equalize(mode="pil", p=1.0),
        "Invert": A.InvertImg(p=1.0),
        **{name: A.Affine(**change, **kept) for name, change in of_place.items()},
        "PosterizeIncreasing": A.Posterize(num_bits=(max(1, 4 - int(4 * part)), 4), p=1.0),
        "SolarizeIncreasing": A.Solarize(threshold_range=(1 - part, 1.0), p=1.0),
        "SolarizeAdd": SolarizeAdd(most=int(110 * part), p=1.0),
        "ColorIncreasing": enhanced["saturation"],
        "ContrastIncreasing": enhanced["contrast"],
        "BrightnessIncreasing": enhanced["brightness"],
        "SharpnessIncreasing": Sharpness(around, p=1.0),
    }


class SolarizeAdd(A.ImageOnlyTransform):
    """Makes the darker half of all values lighter by a random number up to `most`."""

    def __init__(self, *, most: int, p: float):
        super().__init__(p=p)
        self.most = most

    def get_params(self) -> dict[str, int]:
        return dict(add=self.py_random.randint(0, self.most))

    def apply(self, img: np.ndarray, add: int, **_: object) -> np.ndarray:
        return np.where(img < 128, cv2.add(img, np.full_like(img, add)), img)


class Sharpness(A.ImageOnlyTransform):
    """Blurs a picture (factors below 1) or makes it sharper (above 1) by a random factor, but for its border."""

    def __init__(self, factors: tuple[float, float], *, p: float):
        super().__init__(p=p)
        self.factors = factors

    def get_params(self) -> dict[str, float]:
        return dict(factor=self.py_random.uniform(*self.factors))

    def apply(self, img: np.ndarray, factor: float, **_: object) -> np.ndarray:
        blurred, result = cv2.filter2D(img, -1, _SMOOTH), img.copy()
        inner = (slice(1, -1), slice(1, -1))
        result[inner] = cv2.addWeighted(img[inner], factor, blurred[inner], 1 - factor, 0)
        return result
