"""What is looked at in one sample: read once, by worker processes, and what is kept of it is small.

Legend: image (C, *S), label (*S).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch.utils.data import Dataset as TorchDataset

from densevit.data.dataset import Dataset, Sample
from densevit.data.findings import source_files
from densevit.data.label_check import Facts
from densevit.doctor.edges import Agreement, agreement
from densevit.doctor.said import keeping_warnings
from densevit.quoting import sentence
from densevit.workers import drawing, one_by_one

THUMBNAIL = 16  # pixels of each axis, by which images are compared
VALUES = 200_000  # of a channel, from which percentiles are taken
CHUNK = 2**20


class Range(NamedTuple):
    """Of the values of one channel; `dark` and `bright` are the percentiles 0.5 and 99.5."""

    low: float
    dark: float
    median: float
    bright: float
    high: float


@dataclass(frozen=True)
class Look:
    """Of one sample: the facts of opening the set, or the fault that would end a training, and what is `said` to warn
    when it is read; and what else is seen.

    `digest` is that of the bytes of its image files. `slopes` are the differences between neighbours of a thumbnail,
    of mean 0 and length 1, by which images are compared; None where there are none. `grey` says that three channels are
    equal. `agreement` is None without label or borders.
    """

    index: int
    name: str
    facts: Facts | None = None
    fault: str = ""
    said: tuple[str, ...] = ()
    size: tuple[int, ...] = ()
    spacing: tuple[float, ...] | None = None
    ranges: tuple[Range, ...] = ()
    grey: bool = False
    digest: bytes = b""
    slopes: np.ndarray | None = None
    agreement: Agreement | None = None


def look_through(dataset: Dataset, *, num_workers: int = 0) -> Iterator[Look]:
    """Every sample of a set, in its order; what cannot be read is told of, not raised."""
    with drawing(one_by_one(_Looks(dataset), num_workers=min(num_workers, len(dataset)))) as drawn:
        yield from drawn


@dataclass(frozen=True)
class _Looks(TorchDataset):
    dataset: Dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Look:
        case = self.dataset.cases[index]
        try:
            with keeping_warnings() as said:
                facts, sample = self.dataset.inspect(index)
            return replace(_look(index, facts, sample, digest=_digest(case.images)), said=tuple(said))
        except (ValueError, OSError, MemoryError) as error:
            text = sentence(str(error) or type(error).__name__)
            named = any(path in text for path in case.files)
            return Look(index, case.name, fault=text if named else f"{case.name}: {text}")


def _look(index: int, facts: Facts, sample: Sample, *, digest: bytes) -> Look:
    image, label = np.asarray(sample.image), sample.label
    return Look(
        index=index,
        name=str(sample.meta["image"]),
        facts=facts,
        size=image.shape[1:],
        spacing=None if sample.grid.affine is None else sample.grid.spacing,
        ranges=tuple(map(_range, image)),
        grey=len(image) == 3 and bool((image == image[:1]).all()),
        digest=digest,
        slopes=_slopes(image),
        agreement=None if label is None else agreement(image, label),
    )


def _range(channel: np.ndarray) -> Range:
    some = channel.ravel()[:: max(1, channel.size // VALUES)]
    dark, median, bright = np.percentile(some, (0.5, 50, 99.5)).tolist()
    return Range(float(channel.min()), dark, median, bright, float(channel.max()))


def _slopes(image: np.ndarray) -> np.ndarray | None:
    small = image.astype(np.float32).mean(0)
    for axis, size in enumerate(small.shape):
        limits = np.linspace(0, size, THUMBNAIL + 1).astype(int)
        parts = [small.take(range(a, max(b, a + 1)), axis=axis, mode="clip").mean(axis) for a, b in pairwise(limits)]
        small = np.stack(parts, axis=axis)
    slopes = np.concatenate([np.diff(small, axis=axis).ravel() for axis in range(small.ndim)])
    slopes = slopes - slopes.mean()
    length = float(np.linalg.norm(slopes))
    return None if length == 0 else (slopes / length).astype(np.float16)


def _digest(paths: tuple[str, ...]) -> bytes:
    """Of the bytes of all files that an image is read from."""
    total = sha256()
    for source in (source for path in paths for source in source_files(path)):
        with open(source, "rb") as file:
            while chunk := file.read(CHUNK):
                total.update(chunk)
    return total.digest()
