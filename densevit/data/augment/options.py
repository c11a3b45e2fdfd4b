"""The keys of `augment` in a config, for pictures and for volumes, checked without what they ask for being made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from densevit.data.dataset import Augment
from densevit.normalization import MEAN
from densevit.options import check_range, read_options
from densevit.sides import Sides

NO_SIDES = Sides()
FOLD = 0.4  # of the distance between control points: what larger displacements may fold

# What `VolumeAugmentOptions` has where a config says nothing.
_MILD = dict(
    scale=(0.9, 1.1),
    scale_prob=1.0,
    rotate=10.0,
    rotate_in_plane=None,
    rotate_prob=1.0,
    elastic=None,
    elastic_prob=0.2,
    flips=(0.0, 0.0, 0.0),
    foreground=0.5,
    foreground_weights=None,
    intensity=0.1,
    noise=0.0,
    extra=(),
)

# The probabilities and ranges that nnU-Net publishes in its supplement (https://doi.org/10.1038/s41592-020-01008-z),
# for crops of cubes. Where it decides by sample and then by channel, the channel's own probability is the product.
# Others than there: the deviation of the noise is drawn evenly, not its square; low resolution comes back linearly,
# not by cubes; contrast turns on the image's mean, as its code does.
_NNUNET = dict(
    _MILD,
    scale=(0.7, 1.4),
    scale_prob=0.2,
    rotate=30.0,
    rotate_prob=0.2,
    flips=(0.5, 0.5, 0.5),
    foreground=1 / 3,
    intensity=0.0,
    extra=(
        dict(type="RandGaussianNoise", prob=0.15, std=0.1**0.5),
        dict(
            type="RandGaussianSmooth",
            prob=0.2 * 0.5,
            per_channel=True,
            **dict.fromkeys(("sigma_x", "sigma_y", "sigma_z"), (0.5, 1.5)),
        ),
        dict(type="RandScaleIntensity", prob=0.15, factors=(-0.3, 0.3)),
        dict(type="RandScaleIntensityFixedMean", prob=0.15, factors=(-0.35, 0.5), preserve_range=True),
        dict(
            type="RandSimulateLowResolution",
            prob=0.25 * 0.5,
            per_channel=True,
            zoom_range=(0.5, 1.0),
            downsample_mode="nearest-exact",  # "nearest" would move the image by up to half a voxel
        ),
        dict(type="RandAdjustContrast", prob=0.15 * 0.15, gamma=(0.7, 1.5), invert_image=True),
        dict(type="RandAdjustContrast", prob=0.15 * 0.85, gamma=(0.7, 1.5)),
    ),
)

PRESETS = {"mild": _MILD, "nnunet": _NNUNET}


@dataclass(frozen=True, kw_only=True)
class AugmentOptions:
    """Random changes of pictures; sizes are (height, width).

    scale: range of the random factor on the image, which is first fitted into base_size (H, W) with its ratio kept
        (None: its own size). Images smaller than the crop are padded at the right and the bottom, labels with 255.
    crop_size: (h, w) of what comes out. A crop in which one class has cat_max_ratio or more of the pixels that are
        not ignored is drawn again, up to ten times.
    flip: probability of a horizontal flip, in which the classes of left and right change places.
    photometric: random brightness, contrast, saturation and hue of 8-bit RGB; None where pictures are such.
    extra: further albumentations, such as dict(type="GaussianBlur", p=0.1); geometric ones fill labels with 255.
    """

    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    base_size: tuple[int, int] | None = None
    cat_max_ratio: float = 0.75
    flip: float = 0.5
    photometric: bool | None = None
    extra: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        check_range(self, ("crop_size", "base_size"), least=1)
        _check_factors(self.scale)
        check_range(self, ("cat_max_ratio", "flip"), least=0, most=1)

    @property
    def mirrors(self) -> bool:
        """Whether left and right are exchanged, now and then."""
        return self.flip > 0

    def without_classes(self) -> "AugmentOptions":
        """The same for pictures without labels: crops are from anywhere."""
        return replace(self, cat_max_ratio=1.0)

    def create(self, *, fill: Sequence[float], sides: Sides = NO_SIDES) -> Augment:
        """ValueError for what albumentations does not have, and for mirror images of classes with unknown sides."""
        from densevit.data.augment.augment_2d import Augment2D  # here, for it brings albumentations

        return Augment2D(self, fill=fill, sides=sides)


@dataclass(frozen=True, kw_only=True)
class VolumeAugmentOptions:
    """Random changes of volumes; sizes and flips are (depth, height, width).

    What is None is as `preset` says (`PRESETS`); "nnunet" is nnU-Net's published augmentation.
    scale, rotate: range of zooms, 2 doubling the voxels; largest angle about each axis in degrees, and
        `rotate_in_plane` that about the depth axis alone.
    elastic: largest displacement of control points and their distance, in mm.
    foreground: how often a crop holds a voxel chosen by class: every class but 0 alike, or as often as
        `foreground_weights` says, one number a class with background first.
    flips: how often each axis is turned round, and with the last one the classes of left and right.
    intensity, noise: largest change of contrast and brightness, largest deviation of added noise.
    extra: random intensity transforms of MONAI, such as dict(type="RandBiasField", prob=0.1).
    """

    crop_size: tuple[int, int, int]
    preset: Literal["mild", "nnunet"] = "mild"
    scale: tuple[float, float] | None = None
    scale_prob: float | None = None
    rotate: float | None = None
    rotate_in_plane: float | None = None
    rotate_prob: float | None = None
    elastic: tuple[float, float] | None = None
    elastic_prob: float | None = None
    flips: tuple[float, float, float] | None = None
    foreground: float | None = None
    foreground_weights: tuple[float, ...] | None = None
    intensity: float | None = None
    noise: float | None = None
    extra: tuple[dict[str, Any], ...] | None = None

    def __post_init__(self) -> None:
        check_range(self, ("crop_size",), least=1)
        _check_factors(self.scale or (1.0, 1.0))
        check_range(self, ("rotate", "rotate_in_plane"), least=0, most=180)
        shares = ("scale_prob", "rotate_prob", "elastic_prob", "flips", "foreground", "intensity", "noise")
        check_range(self, shares, least=0, most=1)
        weights = self.foreground_weights
        if weights is not None and not (min(weights, default=0) >= 0 < sum(weights)):
            raise ValueError(f"foreground_weights must be numbers of at least 0, not all 0, got {weights}")
        largest, distance = self.elastic or (0.0, 1.0)
        if not 0 <= largest <= FOLD * distance or distance <= 0:
            what = f"(largest displacement, distance of control points) in mm, the first at most {FOLD} of the second"
            raise ValueError(f"elastic must be {what} so that nothing folds; got {self.elastic}")

    @property
    def mirrors(self) -> bool:
        """Whether left and right are exchanged, now and then."""
        return self.filled().flips[-1] > 0

    def create(self, *, fill: Sequence[float], sides: Sides = NO_SIDES) -> Augment:
        """It fills with 0; ValueError for what MONAI does not have, and for mirror images as in pictures."""
        from densevit.data.augment.augment_3d import Augment3D

        return Augment3D(self, sides=sides)

    def without_classes(self) -> "VolumeAugmentOptions":
        """The same for volumes without label maps: crops are from anywhere."""
        return replace(self, foreground=0.0, foreground_weights=None)

    def filled(self) -> "VolumeAugmentOptions":
        """The same with the preset's values in place of None, as far as it has them."""
        preset = PRESETS[self.preset]
        return replace(self, **{name: value for name, value in preset.items() if getattr(self, name) is None})


AUGMENTS = {2: AugmentOptions, 3: VolumeAugmentOptions}  # by the number of spatial dimensions
AnyAugmentOptions = AugmentOptions | VolumeAugmentOptions


def read_augment(
    given: AnyAugmentOptions | Mapping[str, Any], *, spatial_dims: int, where: str = "augment"
) -> AnyAugmentOptions:
    """The options in a dictionary, checked; ValueError says in one sentence what is wrong, and with what key."""
    return read_options(AUGMENTS[spatial_dims], given, where=where)


def create_augment(
    given: AnyAugmentOptions | Mapping[str, Any], *, spatial_dims: int, fill: Sequence[float] = MEAN
) -> Augment:
    """The augmentation of pictures or volumes that a config describes; ValueError for what nothing can be made of.

    `fill` is what a picture holds beyond its border, by channel, or one number for all.
    """
    return read_augment(given, spatial_dims=spatial_dims).create(fill=fill)


def _check_factors(scale: tuple[float, float]) -> None:
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale must be a range (low, high) of factors above 0, got {scale}")
