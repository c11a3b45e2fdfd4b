"""Values of pictures and scans to numbers for a network: `create_normalization(config)` gives a function of one image.

All functions map (C, *S) in the file's units to float32 of the same shape, and do not change what they are given.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from densevit.options import check_fields
from densevit.registry import check_known

MEAN = (123.675, 116.28, 103.53)  # ImageNet's colours: RGB, 0 to 255
STD = (58.395, 57.12, 57.375)
MEAN_STD = dict(type="mean_std", mean=MEAN, std=STD)
ZSCORE = dict(type="zscore", percentiles=None)
CLIPPED = (0.5, 99.5)  # percentiles of a z-score in files of 0.1.0 that do not say theirs
Normalize = Callable[[np.ndarray], np.ndarray]


class Normalization:
    """A function of an image (C, *S), of which each kind defines `__call__` or, where it measures the image, `of`.

    `zero` are the values that become about 0: one, or one for each channel.
    """

    kind: str
    zero: Sequence[float]

    def __post_init__(self) -> None:
        check_fields(self, owner=f"normalization {self.kind!r}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return self.of(image)(image)

    def of(self, image: np.ndarray) -> Normalize:
        """The same function for parts of `image`: what it measures of an image, it measures of this one, whole."""
        return self


@dataclass(frozen=True, kw_only=True)
class MeanStd(Normalization):
    """Less the mean of each channel, over its deviation: numbers of a whole set. The default is ImageNet's, for RGB.

    Three means up to 255 are taken for those of 8-bit colours, to which other pictures are then brought.
    """

    kind = "mean_std"
    mean: list | tuple = MEAN
    std: list | tuple = STD

    def __post_init__(self) -> None:
        super().__post_init__()
        numbers = [each for each in (*self.mean, *self.std) if type(each) in (int, float) and isfinite(each)]
        if len(numbers) != 2 * len(self.mean) or len(self.std) != len(self.mean) or min(self.std, default=0) <= 0:
            raise ValueError(
                "normalization 'mean_std' needs a mean for each channel and as many deviations above 0, got mean "
                f"{tuple(self.mean)} and std {tuple(self.std)}"
            )

    @property
    def zero(self) -> Sequence[float]:
        return tuple(self.mean)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if len(image) != len(self.mean):
            raise ValueError(
                f"normalization 'mean_std' has {len(self.mean)} means and the image {len(image)} channels; "
                "give a mean and a std for each channel"
            )
        mean, std = (np.float32(each).reshape(-1, *(1,) * (image.ndim - 1)) for each in (self.mean, self.std))
        out = image.astype(np.float32, order="C")
        out -= mean
        out /= std
        return out


@dataclass(frozen=True, kw_only=True)
class ZScore(Normalization):
    """Mean 0 and deviation 1, by channel and image: MR, whose units mean nothing.

    percentiles: of the image, to which it is clipped first, such as (0.5, 99.5). A small bright lesion lies beyond them
        and becomes equal to what is less bright, so that None, the default, clips nothing.
    nonzero: only values other than 0 count for all numbers, and 0 stays 0: skull-stripped heads.
    """

    kind, zero = "zscore", (0.0,)
    percentiles: list | tuple | None = None
    nonzero: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.percentiles is None:
            return
        numbers = [each for each in self.percentiles if type(each) in (int, float)]
        low, high = numbers if len(numbers) == len(self.percentiles) == 2 else (1, 0)
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must be two rising numbers from 0 to 100, got {tuple(self.percentiles)}")

    def of(self, image: np.ndarray) -> Normalize:
        scaled = [self._scaled_as(channel) for channel in image]
        return lambda part: np.stack([scale(channel) for scale, channel in zip(scaled, part, strict=True)])

    def _scaled_as(self, channel: np.ndarray) -> Normalize:
        """By the mean and deviation of a channel, between its percentiles; to 0 where nothing of it counts."""
        inside = channel[channel != 0] if self.nonzero else channel
        if not inside.size:
            return lambda part: np.zeros(part.shape, np.float32)
        low, high = (-np.inf, np.inf) if self.percentiles is None else np.percentile(inside, self.percentiles)
        inside = np.clip(inside.astype(np.float64), low, high)
        mean, std = inside.mean(), inside.std()

        def scale(part: np.ndarray) -> np.ndarray:
            scaled = (np.clip(part.astype(np.float64), low, high) - mean) / (std if std > 0 else 1)
            return np.where(part != 0, scaled, 0).astype(np.float32) if self.nonzero else scaled.astype(np.float32)

        return scale


@dataclass(frozen=True, kw_only=True)
class Window(Normalization):
    """Clipped to [low, high], then brought to [0, 1]: a CT window in HU, such as -175 to 250 for soft tissue."""

    kind = "window"
    low: float
    high: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.low) and isfinite(self.high) and self.low < self.high):
            raise ValueError(f"low must lie below high, got {self.low} and {self.high}")

    @property
    def zero(self) -> Sequence[float]:
        return (self.low,)

    @property
    def scale(self) -> float:
        """The difference of values that becomes 1."""
        return self.high - self.low

    def __call__(self, image: np.ndarray) -> np.ndarray:
        out = np.clip(image, self.low, self.high).astype(np.float32)
        out -= np.float32(self.zero[0])
        out *= np.float32(1 / self.scale)
        return out


@dataclass(frozen=True, kw_only=True)
class CT(Window):
    """Clipped to [low, high] HU, then less `mean`, over `std`: numbers of the whole set, for HU mean the same in all.

    nnU-Net's way; the numbers are those of its foreground (https://doi.org/10.1038/s41592-020-01008-z).
    """

    kind = "ct"
    mean: float
    std: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isfinite(self.mean) and 0 < self.std < float("inf")):
            raise ValueError(f"mean must be finite and std above 0, got {self.mean} and {self.std}")

    @property
    def zero(self) -> Sequence[float]:
        return (self.mean,)

    @property
    def scale(self) -> float:
        return self.std


@dataclass(frozen=True, kw_only=True)
class UnitRange(Normalization):
    """The smallest value of each channel and image becomes 0, the largest 1."""

    kind, zero = "unit_range", (0.0,)

    def of(self, image: np.ndarray) -> Normalize:
        axes = tuple(range(1, image.ndim))
        low, high = (extreme(axis=axes, keepdims=True).astype(np.float32) for extreme in (image.min, image.max))
        width = np.where(high > low, high - low, np.float32(1))
        return lambda part: (part.astype(np.float32) - low) / width


@dataclass(frozen=True, kw_only=True)
class ByChannel(Normalization):
    """Each channel by a normalization of its own, as a dictionary of its type and options: CT and PET in one set."""

    kind = "by_channel"
    channels: list | tuple

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.channels:
            raise ValueError("normalization 'by_channel' needs one normalization for each channel, got none")
        object.__setattr__(self, "_parts", tuple(create_normalization(each) for each in self.channels))

    @property
    def zero(self) -> Sequence[float]:
        return tuple(float(part.zero[0]) for part in self._parts)

    def of(self, image: np.ndarray) -> Normalize:
        if len(image) != len(self._parts):
            raise ValueError(
                f"normalization 'by_channel' has {len(self._parts)} channels and the image {len(image)}; "
                "give one normalization for each channel"
            )
        measured = [part.of(channel[None]) for part, channel in zip(self._parts, image, strict=True)]
        return lambda part: np.concatenate([of(each[None]) for of, each in zip(measured, part, strict=True)])


KINDS = {each.kind: each for each in (MeanStd, ZScore, Window, CT, UnitRange, ByChannel)}


def as_written_before(config: Mapping[str, Any]) -> dict[str, Any]:
    """The normalization of a file of any version: one that does not say its percentiles was clipped to `CLIPPED`."""
    is_silent = config.get("type") == "zscore" and "percentiles" not in config
    return {**config, "percentiles": list(CLIPPED)} if is_silent else dict(config)


def in_full(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same with every option said, ready for JSON, so that it means the same to another version."""
    made = create_normalization(config)
    said = {field.name: getattr(made, field.name) for field in fields(made)}
    if isinstance(made, ByChannel):
        said["channels"] = [in_full(each) for each in made.channels]
    return {"type": config["type"]} | {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()}


def create_normalization(config: Mapping[str, Any]) -> Normalization:
    """The function that a dictionary of its type and options describes: dict(type="zscore", nonzero=True).

    Types are "mean_std", "zscore", "window", "ct", "unit_range" and "by_channel". ValueError for another type, and for
    options that do not fit.
    """
    check_known(config.get("type") if isinstance(config, Mapping) else config, KINDS, what="no normalization named")
    kind, options = KINDS[config["type"]], {key: value for key, value in config.items() if key != "type"}
    known = [field.name for field in fields(kind)]
    for key in options:
        check_known(key, known, what=f"normalization {config['type']!r} has no")
    missing = [field.name for field in fields(kind) if field.name not in options and field.default is MISSING]
    if missing:
        raise ValueError(f"normalization {config['type']!r} needs {' and '.join(missing)}; got {dict(config)}")
    return kind(**options)
