"""The files of one scan, and its label map as class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densevit.labels import IGNORE
from densevit.volumes.grid import Grid
from densevit.volumes.paths import kind_of
from densevit.volumes.read_options import ReadOptions
from densevit.volumes.volume import Volume, open_volume, read_label_volume


@dataclass(frozen=True, order=True)
class Case:
    """The files of one scan: `images` is one file with all channels, or one file a channel; `label` its label map."""

    images: tuple[str, ...]
    label: str | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.images[0]

    @property
    def files(self) -> tuple[str, ...]:
        """Those of the images, and the label's where there is one."""
        return (*self.images, *([] if self.label is None else [self.label]))


def read_case_label(case: Case, *, options: ReadOptions, volume: Volume | None = None) -> tuple[np.ndarray, Grid]:
    """The label file's integers int64 (D, H, W), and its grid.

    A DICOM-SEG is read onto the grid of its scan, which `volume` saves reading.
    """
    path, like = Path(case.label), None
    if path.is_file() and kind_of(path) == "dicom":
        like = open_volume(case.images, options=options) if volume is None else volume
    return read_label_volume(path, options=options, like=like)


def decode_label(
    values: np.ndarray,
    label_values: np.ndarray,
    *,
    classes: Sequence[str],
    path: str,
    ignored_value: int | None = None,
) -> np.ndarray:
    """A file's values -> class numbers, uint8, IGNORE for the ignored one; ValueError for a value that no class has."""
    order = np.argsort(label_values)
    place = np.searchsorted(label_values, values, sorter=order).clip(max=len(order) - 1)
    label = order[place]
    strange = label_values[label] != values
    if ignored_value is not None:
        label = np.where(values == ignored_value, IGNORE, label)
        strange &= values != ignored_value
    wrong = np.unique(values[strange])
    if len(wrong):
        known = ", ".join(f"{v} ({name})" for v, name in zip(label_values, classes, strict=True))
        raise ValueError(
            f"{path} holds {', '.join(map(str, wrong[:5]))}, and the labels are {known}; correct one of them"
        )
    return label.astype(np.uint8)
