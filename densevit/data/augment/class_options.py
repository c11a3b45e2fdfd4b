"""The keys of `augment` where each image is of one class, checked without what they ask for being made."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from densevit.data.augment.options import NO_SIDES, VolumeAugmentOptions
from densevit.data.dataset import Augment
from densevit.options import check_range
from densevit.sides import Sides


@dataclass(frozen=True, kw_only=True)
class RandAugmentOptions:
    """The keys of `rand_augment`: `count` random changes a picture, of strengths up to `magnitude` of 10.

    https://arxiv.org/abs/1909.13719, with the changes and largest strengths that timm has. It is for 8-bit RGB.
    """

    magnitude: float = 9.0
    count: int = 2

    def __post_init__(self) -> None:
        check_range(self, ["magnitude"], least=0, most=10)
        check_range(self, ["count"], least=1)


@dataclass(frozen=True, kw_only=True)
class ClassAugmentOptions:
    """Random changes of pictures that each are of one class; sizes are (height, width).

    crop_size: (h, w) of what comes out. area, ratio: the part of the picture that it shows, and its width by its height
        before it is resized (https://arxiv.org/abs/1409.4842).
    flip: probability of a horizontal flip, after which a class of the left is that of the right.
    rand_augment: changes of colour and place. erase: probability that a random box of the crop holds the mean colour
        (https://arxiv.org/abs/1708.04896). extra: further albumentations, such as dict(type="GaussianBlur", p=0.1).
    """

    crop_size: tuple[int, int]
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    rand_augment: RandAugmentOptions | None = None
    erase: float = 0.0
    extra: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_range(self, ["crop_size"], least=1)
        check_range(self, ["area", "flip", "erase"], least=0, most=1)
        if not 0 < self.area[0] <= self.area[1] or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"area and ratio must be ranges (low, high) above 0, got {self.area} and {self.ratio}")

    @property
    def mirrors(self) -> bool:
        """Whether left and right are exchanged, now and then."""
        return self.flip > 0

    def without_classes(self) -> "ClassAugmentOptions":
        """The same: no class is looked at where crops lie."""
        return self

    def create(self, *, fill: Sequence[float], sides: Sides = NO_SIDES) -> Augment:
        """ValueError for what albumentations does not have, and for mirror images of classes with unknown sides."""
        from densevit.data.augment.class_2d import ClassAugment2D

        return ClassAugment2D(self, fill=fill, sides=sides)


CLASS_AUGMENTS = {2: ClassAugmentOptions, 3: VolumeAugmentOptions}  # by the number of spatial dimensions
