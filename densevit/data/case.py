"""The files of one scan, and its label map as class numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np

from densevit.labels import IGNORE
from densevit.pictures.coding import MANY
from densevit.volumes.grid import Grid
from densevit.volumes.paths import kind_of
from densevit.volumes.volume import ReadOptions, Volume, open_volume, read_label_volume


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


def names_of_channels(cases: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """How the file of each channel is called in every case: "t1.nii.gz", or with * for what differs, "*_t1.nii.gz".

    None where that does not tell channels apart, and for a single channel whose names share an ending such as ".nii"
    alone.
    """
    channels = list(zip(*([Path(path).name for path in images] for images in cases), strict=True)) if cases else []
    ends = ["*" + _shared_end(names) for names in channels]
    starts = [_shared_end([name[::-1] for name in names])[::-1] for names in channels]
    for patterns in (ends, [start + end for start, end in zip(starts, ends, strict=True)]):
        found = [names[0] if len({*names}) == 1 else pattern for names, pattern in zip(channels, patterns, strict=True)]
        vague = any(pattern.startswith("*") and pattern[1:2] in ("", ".") for pattern in found)  # most files have it
        if len(cases) > 1 and not vague and len({*found}) == len(found):
            return tuple(found)
    return None


def _shared_end(names: Sequence[str]) -> str:
    """`p10_t1.nii`, `p20_t1.nii` -> `_t1.nii`: the end that names share, from its first separator on."""
    same = takewhile(lambda letters: len({*letters}) == 1, zip(*(reversed(name) for name in names), strict=False))
    end = names[0][len(names[0]) - len(list(same)) :]
    return end[next((i for i, letter in enumerate(end) if not letter.isalnum()), len(end)) :]


def read_case_label(
    case: Case,
    *,
    options: ReadOptions,
    classes: Sequence[str],
    label_values: Sequence[int],
    ignored_value: int | None = None,
    volume: Volume | None = None,
) -> tuple[np.ndarray, Grid]:
    """The label as class numbers uint8 (D, H, W), and its grid; ValueError for a value that no class has.

    A DICOM-SEG is read onto the grid of its scan, which `volume` saves reading.
    """
    path, like = Path(case.label), None
    if path.is_file() and kind_of(path) == "dicom":
        like = open_volume(case.images, options=options) if volume is None else volume
    values, grid = read_label_volume(path, options=options, like=like)
    return decode_label(values, label_values, classes=classes, path=case.label, ignored_value=ignored_value), grid


def decode_label(
    values: np.ndarray,
    label_values: Sequence[int],
    *,
    classes: Sequence[str],
    path: str,
    ignored_value: int | None = None,
) -> np.ndarray:
    """A file's values -> class numbers, uint8, IGNORE for the ignored one; ValueError for a value that no class has."""
    label_values = np.array(label_values)
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
        held = ", ".join(map(str, wrong[:5])) + (f", ... {len(wrong)} values" if len(wrong) > 5 else "")
        advice = "correct one of them"
        if len(wrong) > MANY or (wrong < 0).any():
            advice = "it looks like an image: were image and label exchanged?"
        raise ValueError(f"{path} holds {held}, and the labels are {known}; {advice}")
    return label.astype(np.uint8)
