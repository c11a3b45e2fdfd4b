"""Samples for training and evaluation, `dict(image (C, *S), label (*S), meta)`, and their batches.

A training sample depends on (seed, draw number) alone: not on workers, processes, or where a run was resumed.
"""

from collections.abc import Callable, Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from densevit.data.label_check import check_labels
from densevit.data.picture_set import SegmentationDataset
from densevit.data.rare_classes import create_rare_classes
from densevit.data.volume_set import VolumeDataset
from densevit.pictures.normalize import normalize_image

Augment = Callable[..., tuple[np.ndarray, np.ndarray]]  # of image, label, rng; of volumes also foreground and spacing
Normalize = Callable[[np.ndarray], Tensor]
_CROP_TRIES = 10
_PERMUTATIONS = 1  # highest counter word: permutations never share random numbers with samples


class TrainStream(Dataset):
    """An endless data set addressed by draw number: each epoch of len(dataset) draws is a new permutation.

    With `rare_class_sampling` (True, or a dict of temperature, min_pixels, min_crop_ratio) images are drawn by class.
    """

    def __init__(
        self,
        dataset: SegmentationDataset | VolumeDataset,
        augment: Augment,
        *,
        seed: int,
        rare_class_sampling: dict | bool | None = None,
        normalize: Normalize | None = None,
    ):
        if not dataset.has_labels:
            raise ValueError("training needs labels, and this set was opened without")
        if seed < 0:
            raise ValueError(f"seed must not be negative, got {seed}")
        self.dataset = dataset
        self.augment = augment
        self.seed = seed
        self.normalize = normalize or normalization_of(dataset)
        self.rare_classes = None
        if rare_class_sampling:
            self.rare_classes = create_rare_classes(rare_class_sampling, counts=check_labels(dataset).counts)
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __getitem__(self, draw: int) -> dict:
        """dict(image float32 (C, *crop), label int64 (*crop), meta) of draw number 0, 1, 2, ..."""
        if draw < 0:
            raise IndexError(f"draws are numbered from 0, got {draw}")
        rng = np.random.Generator(np.random.Philox(key=[self.seed, draw]))
        index, wanted = (self._index_of(draw), None) if self.rare_classes is None else self.rare_classes.draw(rng)
        sample = self.dataset[index]
        image, label = self._augmented(sample, wanted, rng=rng)
        meta = dict(sample["meta"], draw=draw)
        return dict(image=self.normalize(image), label=_to_int64(label), meta=meta)

    def _index_of(self, draw: int) -> int:
        epoch, position = divmod(draw, len(self.dataset))
        if epoch != self._epoch:
            bits = np.random.Philox(key=[self.seed, epoch], counter=[0, 0, 0, _PERMUTATIONS])
            self._epoch, self._order = epoch, np.random.Generator(bits).permutation(len(self.dataset))
        return int(self._order[position])

    def _augmented(
        self, sample: dict, wanted: int | None, *, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        known = {}
        if isinstance(self.dataset, VolumeDataset):
            known = dict(foreground=sample["foreground"], spacing=sample["meta"]["spacing"])
        for _ in range(_CROP_TRIES):
            image, label = self.augment(sample["image"], sample["label"], rng, **known)
            if wanted is None or np.count_nonzero(label == wanted) >= self.rare_classes.crop_pixels:
                break
        return image, label


class DrawSampler(Sampler):
    """The draw numbers of one process, without end: start + rank, start + rank + world_size, ..."""

    def __init__(self, start: int = 0, rank: int = 0, world_size: int = 1):
        if start < 0 or not 0 <= rank < world_size:
            raise ValueError(f"expected start >= 0 and 0 <= rank < world_size, got {start}, {rank}, {world_size}")
        self.start = start
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[int]:
        return count(self.start + self.rank, self.world_size)


class EvalSet(Dataset):
    """Every sample of a data set at its full size, normalized; without label where the set has none.

    Volumes may come resampled: their labels are always on the scan's own grid.
    """

    def __init__(self, dataset: SegmentationDataset | VolumeDataset, normalize: Normalize | None = None):
        self.dataset = dataset
        self.normalize = normalize or normalization_of(dataset)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        sample = self.dataset.evaluation_sample(index)
        label = dict(label=_to_int64(sample["label"])) if "label" in sample else {}
        return dict(image=self.normalize(sample["image"]), **label, meta=sample["meta"])


def collate(samples: list[dict]) -> dict:
    """Samples of one size -> dict(image (B, C, *S), label (B, *S) where they have labels, meta list)."""
    sizes = {tuple(sample["image"].shape) for sample in samples}
    if len(sizes) > 1:
        names = ", ".join(str(sample["meta"]["image"]) for sample in samples[:4])
        raise ValueError(f"images of sizes {sorted(sizes)} cannot form one batch ({names}); use batch_size=1 or a crop")
    keys = [key for key in ("image", "label") if all(key in sample for sample in samples)]
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in keys}
    return dict(batch, meta=[sample["meta"] for sample in samples])


def normalization_of(dataset: SegmentationDataset | VolumeDataset) -> Normalize:
    """What makes a tensor for the network of an image: volumes come normalized by case, pictures do not."""
    return torch.from_numpy if isinstance(dataset, VolumeDataset) else normalize_image


def _to_int64(label: np.ndarray) -> Tensor:
    return torch.from_numpy(label.astype(np.int64))
