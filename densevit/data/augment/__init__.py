"""Random changes of training samples: of pictures by albumentations, of volumes by our own and MONAI's transforms."""

from collections.abc import Mapping, Sequence
from typing import Any

from densevit.data.augment.options import AnyAugmentOptions, Augment, read_augment
from densevit.normalization import MEAN


def create_augment(
    given: AnyAugmentOptions | Mapping[str, Any], *, spatial_dims: int, fill: Sequence[float] = MEAN
) -> Augment:
    """The augmentation of pictures (`AugmentOptions`) or volumes (`VolumeAugmentOptions`) that a config describes.

    `fill` is what a picture holds beyond its border, by channel, or one number for all. ValueError for unknown keys,
    numbers that nothing can be made of, and unknown names or arguments in `extra`.
    """
    return read_augment(given, spatial_dims=spatial_dims).create(fill=fill)
