"""Samples for training and evaluation as tensors, normalised, and their batches.

A training sample depends on (seed, draw number) alone: not on workers, processes, or where a run was resumed.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from densevit.data.dataset import Augment, Dataset, Sample
from densevit.options import read_options

_CROP_TRIES = 10
_PERMUTATIONS = 1  # highest counter word: permutations never share random numbers with samples


@dataclass(frozen=True, kw_only=True)
class RareClassOptions:
    """The keys of `rare_class_sampling`.

    temperature: low values favour rare classes more. min_pixels: what counts as an image of a class.
    min_crop_ratio: a crop with fewer than min_pixels x this of the drawn class is drawn again, up to ten times.
    """

    temperature: float = 0.01
    min_pixels: int = 3000
    min_crop_ratio: float = 0.5

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")


class RareClassSampler:
    """Draws a class by P(c) ~ exp((1 - frequency) / temperature), then an image of it; from pixel counts (N, K)."""

    def __init__(self, counts: np.ndarray, options: RareClassOptions):
        if not counts.any():
            raise ValueError("rare_class_sampling found no pixel of any class in the labels; check the labels")
        frequency = counts.sum(0) / counts.sum()
        weight = np.where(frequency > 0, np.exp((frequency[frequency > 0].min() - frequency) / options.temperature), 0)
        self.probabilities = weight / weight.sum()
        enough = [np.flatnonzero(pixels >= options.min_pixels) for pixels in counts.T]
        # where none has enough, those with any
        self.images = [found if len(found) else np.flatnonzero(counts[:, c]) for c, found in enumerate(enough)]
        self.crop_pixels = options.min_pixels * options.min_crop_ratio

    def draw(self, rng: np.random.Generator) -> tuple[int, int]:
        """(image index, class)."""
        wanted = int(rng.choice(len(self.probabilities), p=self.probabilities))
        return int(rng.choice(self.images[wanted])), wanted


class TrainStream(TorchDataset):
    """An endless data set addressed by draw number: each epoch of len(dataset) draws is a new permutation.

    With `rare_class_sampling` (True, or a dict of temperature, min_pixels, min_crop_ratio) images are drawn by class.
    Each image is drawn `repeats` times in a row. A set without labels needs `labelled` False.
    """

    def __init__(
        self,
        dataset: Dataset,
        augment: Augment,
        *,
        seed: int,
        rare_class_sampling: dict | bool | None = None,
        repeats: int = 1,
        labelled: bool = True,
    ):
        if labelled and not dataset.has_labels:
            raise ValueError("training needs labels, and this set was opened without")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.dataset = dataset
        self.augment = augment
        self.seed, self.repeats = seed, repeats
        self.rare_classes = None
        if rare_class_sampling:
            given = {} if rare_class_sampling is True else rare_class_sampling
            options = read_options(RareClassOptions, given, where="rare_class_sampling")
            self.rare_classes = RareClassSampler(dataset.check().counts, options)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, draw: int) -> Sample:
        """Image float32 (C, *crop) and label int64 (*crop) of draw number 0, 1, 2, ..."""
        if draw < 0:
            raise IndexError(f"draws are numbered from 0, got {draw}")
        rng = np.random.Generator(np.random.Philox(key=[self.seed, draw]))
        if self.rare_classes is None:
            index, augment = self._index_of(draw), self.augment
        else:
            index, wanted = self.rare_classes.draw(rng)
            augment = self._until_there_is(wanted)
        sample = self.dataset.train_sample(index, augment=augment, rng=rng)
        return _as_tensors(replace(sample, meta=dict(sample.meta, draw=draw), foreground=None))

    def _index_of(self, draw: int) -> int:
        epoch, position = divmod(draw // self.repeats, len(self.dataset))
        if epoch != self._epoch:
            bits = np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, _PERMUTATIONS])
            self._epoch, self._order = epoch, np.random.Generator(bits).permutation(len(self.dataset))
        return int(self._order[position])

    def _until_there_is(self, wanted: int) -> Augment:
        """The augmentation, repeated until there is enough of a class, or ten times."""

        def augment(sample: Sample, rng: np.random.Generator) -> Sample:
            for _ in range(_CROP_TRIES):
                changed = self.augment(sample, rng)
                if np.count_nonzero(changed.label == wanted) >= self.rare_classes.crop_pixels:
                    break
            return changed

        return augment


def draws(start: int = 0, rank: int = 0, world_size: int = 1) -> range:
    """The draw numbers of one process, without end: start + rank, start + rank + world_size, ..."""
    return range(start + rank, sys.maxsize, world_size)


class EvalSet(TorchDataset):
    """Every sample of a data set whole, as `evaluation_sample` gives it, as tensors."""

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Sample:
        return _as_tensors(self.dataset.evaluation_sample(index))

    def frames(self, index: int) -> Iterator[Sample]:
        """The same of a video, frame by frame."""
        return map(_as_tensors, self.dataset.evaluation_frames(index))


def collate(samples: Sequence[Sample]) -> dict[str, Any]:
    """Samples of one size -> dict(image (B, C, *S), label (B, *S) where they have labels, meta list)."""
    sizes = {tuple(sample.image.shape) for sample in samples}
    if len(sizes) > 1:
        names = ", ".join(str(sample.meta["image"]) for sample in samples[:4])
        raise ValueError(f"images of sizes {sorted(sizes)} cannot form one batch ({names}); use batch_size=1 or a crop")
    batch: dict[str, Any] = dict(image=torch.stack([sample.image for sample in samples]))
    if all(sample.label is not None for sample in samples):
        batch["label"] = torch.stack([sample.label for sample in samples])
    return dict(batch, meta=[sample.meta for sample in samples])


def _as_tensors(sample: Sample) -> Sample:
    label: Tensor | None = None
    if sample.label is not None:
        label = torch.from_numpy(sample.label.astype(np.int64))
    return replace(sample, image=torch.from_numpy(np.ascontiguousarray(sample.image)), label=label)
