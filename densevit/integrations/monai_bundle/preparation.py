"""The transforms of a bundle before its network, as sections of our header: scans and normalization.

The names below are those of MONAI's transforms without the ending of dictionary transforms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from densevit.integrations.monai_bundle.config import Component
from densevit.volumes.seen_scan import ScanOptions

# They change no number that a network sees: its file is read, and its types and channels are as ours are anyway.
WITHOUT_EFFECT = (
    "AddChannel",
    "CastToType",
    "EnsureChannelFirst",
    "EnsureType",
    "LoadImage",
    "SelectItems",
    "ToDevice",
    "ToTensor",
)
XYZ = (2, 1, 0)  # the order of axes that MONAI has: our first is its last
# The letters of axcodes: which of our axes (superior, anterior, right) they mean, and whether they run the other way.
LETTERS = {"S": (0, False), "I": (0, True), "A": (1, False), "P": (1, True), "R": (2, False), "L": (2, True)}


@dataclass
class Preparation:
    """What the transforms that were read so far say."""

    channels: int
    scans: dict[str, Any] = field(default_factory=lambda: dict(axes="file", order=XYZ, align="origin"))
    normalization: dict[str, Any] | None = None
    spaced: bool = False


def read_preparation(transforms: Sequence[Component], *, channels: int) -> tuple[ScanOptions, dict[str, Any]]:
    """How scans are turned and resampled, and their normalization; ValueError that names the transform that cannot be
    said by them.
    """
    made = Preparation(channels)
    for transform in transforms:
        if transform.transform in WITHOUT_EFFECT:
            continue
        reader = READERS.get(transform.transform)
        if reader is None:
            raise transform.refuse(
                f"and a checkpoint says {', '.join(READERS)} of what is done to scans; predict it with MONAI"
            )
        reader(transform, made)
    return ScanOptions(**made.scans), made.normalization or _linear(0.0, 1.0, channels)


def _orientation(transform: Component, made: Preparation) -> None:
    transform.only(as_closest_canonical=False)
    codes = transform.get("axcodes", "RAS")
    places = [LETTERS.get(letter) for letter in codes] if isinstance(codes, str | list) else []
    if None in places or sorted(place for place, _ in places) != [0, 1, 2]:
        raise transform.refuse(f"whose axcodes are {codes!r}, and three letters such as RAS are expected")
    if made.spaced:
        raise transform.refuse("which comes after Spacing, and is known here before it alone; predict it with MONAI")
    flipped = tuple(number for number, (_, backward) in enumerate(places) if backward)
    made.scans |= dict(axes="standard", order=tuple(place for place, _ in places), flipped=flipped)


def _spacing(transform: Component, made: Preparation) -> None:
    transform.only(
        diagonal=False,
        scale_extent=False,
        recompute_affine=False,
        padding_mode="border",
        min_pixdim=None,
        max_pixdim=None,
    )
    mode = transform.get("mode", "bilinear")
    if set(mode if isinstance(mode, list) else [mode]) != {"bilinear"}:
        raise transform.refuse(f"whose mode is {mode!r}, and scans are resampled linearly here ('bilinear')")
    if made.spaced:
        raise transform.refuse("and there is one before it; predict it with MONAI")
    given = transform.get("pixdim")
    pixdim = list(given) if isinstance(given, list) else [given]
    if not 1 <= len(pixdim) <= 3 or not all(isinstance(mm, int | float) for mm in pixdim):
        raise transform.refuse(f"whose pixdim is {given!r}, and millimetres along three axes are expected")
    pixdim += pixdim[-1:] * (3 - len(pixdim))
    first = "spacing" if made.normalization is None else "normalization"
    made.scans |= dict(spacing=tuple(float(mm) if mm > 0 else None for mm in pixdim), first=first)
    made.spaced = True


def _normalization(transform: Component, made: Preparation) -> None:
    if made.normalization is not None:
        raise transform.refuse(
            "and one before it changes intensities too, of which a checkpoint says one; predict it with MONAI"
        )
    made.normalization = NORMALIZATIONS[transform.transform](transform, made.channels)


def _scale_range(transform: Component, channels: int) -> dict[str, Any]:
    """(x - a_min) / (a_max - a_min), brought to b_min to b_max, and kept there if `clip`."""
    low, high, least, most = (transform.get(key) for key in ("a_min", "a_max", "b_min", "b_max"))
    least, most = (0.0, 1.0) if least is None and most is None else (least, most)
    numbers = all(isinstance(each, int | float) for each in (low, high, least, most))
    if not numbers or not (low < high and least < most):
        raise transform.refuse(f"from {low!r} to {high!r} to {least!r} to {most!r}, and two rising ranges are expected")
    std = (high - low) / (most - least)
    mean = low - least * std
    if not transform.get("clip", False):
        return _linear(mean, std, channels)
    if (least, most) == (0, 1):
        return dict(type="window", low=float(low), high=float(high))
    return dict(type="ct", low=float(low), high=float(high), mean=mean, std=std)


def _normalize(transform: Component, channels: int) -> dict[str, Any]:
    """By numbers that are given, or by the mean and deviation of each channel."""
    mean, std = transform.get("subtrahend"), transform.get("divisor")
    nonzero = bool(transform.get("nonzero", False))
    if mean is None and std is None:
        if channels > 1 and not transform.get("channel_wise", False):
            raise transform.refuse(
                f"of {channels} channels together, and each is normalised by itself here; predict it with MONAI"
            )
        return dict(type="zscore", percentiles=None, nonzero=nonzero)
    lists = [each if isinstance(each, list) else [each] * channels for each in (mean, std)]
    if nonzero or not all(len(each) == channels and all(isinstance(n, int | float) for n in each) for each in lists):
        raise transform.refuse(f"by {mean!r} and {std!r}, and a number for each of {channels} channels is expected")
    return dict(type="mean_std", mean=[float(n) for n in lists[0]], std=[float(n) for n in lists[1]])


def _scale(transform: Component, channels: int) -> dict[str, Any]:
    """The smallest value becomes 0 and the largest 1."""
    transform.only(minv=(0.0, 0), maxv=(1.0, 1), factor=None)
    if channels > 1 and not transform.get("channel_wise", False):
        raise transform.refuse(
            f"of {channels} channels together, and each is scaled by itself here; predict it with MONAI"
        )
    return dict(type="unit_range")


def _linear(mean: float, std: float, channels: int) -> dict[str, Any]:
    return dict(type="mean_std", mean=[mean] * channels, std=[std] * channels)


NORMALIZATIONS = {"ScaleIntensityRange": _scale_range, "NormalizeIntensity": _normalize, "ScaleIntensity": _scale}
READERS = {"Orientation": _orientation, "Spacing": _spacing, **dict.fromkeys(NORMALIZATIONS, _normalization)}
