"""Intensities of scans to numbers for a network: `create_normalization(config)` gives a function of one image.

All functions map (C, D, H, W) in the file's units to float32 of the same shape, and do not change what they are given.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from densevit.options import check_fields
from densevit.registry import check_known

Normalize = Callable[[np.ndarray], np.ndarray]
ZSCORE = dict(type="zscore", percentiles=(0.5, 99.5))


@dataclass(frozen=True, kw_only=True)
class ZScore:
    """Clipped to the case's own percentiles, then mean 0 and deviation 1, by channel: MR, whose units mean nothing.

    nonzero: only voxels other than 0 count for all three numbers, and 0 stays 0: skull-stripped heads.
    """

    percentiles: list | tuple = (0.5, 99.5)
    nonzero: bool = False

    def __post_init__(self) -> None:
        check_fields(self, owner="normalization 'zscore'")
        numbers = [each for each in self.percentiles if isinstance(each, int | float)]
        low, high = numbers if len(numbers) == len(self.percentiles) == 2 else (1, 0)
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must be two rising numbers from 0 to 100, got {tuple(self.percentiles)}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        return np.stack([self._channel(channel) for channel in image])

    def _channel(self, channel: np.ndarray) -> np.ndarray:
        inside = channel[channel != 0] if self.nonzero else channel
        if not inside.size:
            return np.zeros(channel.shape, np.float32)
        low, high = np.percentile(inside, self.percentiles)
        inside = np.clip(inside.astype(np.float64), low, high)
        mean, std = inside.mean(), inside.std()
        scaled = (np.clip(channel.astype(np.float64), low, high) - mean) / (std if std > 0 else 1)
        return np.where(channel != 0, scaled, 0).astype(np.float32) if self.nonzero else scaled.astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Window:
    """Clipped to [low, high], then brought to [0, 1]: a CT window in HU, such as -175 to 250 for soft tissue."""

    low: float
    high: float

    def __post_init__(self) -> None:
        check_fields(self, owner="normalization 'window'")
        _check_rising(self)

    def __call__(self, image: np.ndarray) -> np.ndarray:
        out = np.clip(image, self.low, self.high).astype(np.float32)
        out -= np.float32(self.low)
        out *= np.float32(1 / (self.high - self.low))
        return out


@dataclass(frozen=True, kw_only=True)
class CT:
    """Clipped to [low, high] HU, then less `mean`, over `std`: numbers of the whole set, for HU mean the same in all.

    nnU-Net's way; the numbers are those of its foreground (https://doi.org/10.1038/s41592-020-01008-z).
    """

    low: float
    high: float
    mean: float
    std: float

    def __post_init__(self) -> None:
        check_fields(self, owner="normalization 'ct'")
        _check_rising(self)
        if not (isfinite(self.mean) and 0 < self.std < float("inf")):
            raise ValueError(f"mean must be finite and std above 0, got {self.mean} and {self.std}")

    def __call__(self, image: np.ndarray) -> np.ndarray:
        out = np.clip(image, self.low, self.high).astype(np.float32)
        out -= np.float32(self.mean)
        out *= np.float32(1 / self.std)
        return out


KINDS = dict(zscore=ZScore, window=Window, ct=CT)


def create_normalization(config: Mapping[str, Any]) -> Normalize:
    """The function that dict(type="zscore" | "window" | "ct", ...) describes; ValueError for anything else."""
    check_known(config.get("type") if isinstance(config, Mapping) else config, KINDS, what="no normalization named")
    kind, options = KINDS[config["type"]], {key: value for key, value in config.items() if key != "type"}
    known = [field.name for field in fields(kind)]
    for key in options:
        check_known(key, known, what=f"normalization {config['type']!r} has no")
    missing = [field.name for field in fields(kind) if field.name not in options and field.default is MISSING]
    if missing:
        raise ValueError(f"normalization {config['type']!r} needs {' and '.join(missing)}; got {dict(config)}")
    return kind(**options)


def _check_rising(window: Window | CT) -> None:
    if not (isfinite(window.low) and isfinite(window.high) and window.low < window.high):
        raise ValueError(f"low must lie below high, got {window.low} and {window.high}")
