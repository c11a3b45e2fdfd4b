"""What every data set offers, of pictures, of volumes, and of slices of volumes; and how a config opens one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from densevit.data.case import Case
from densevit.data.finding import Finding
from densevit.data.label_check import Facts, LabelReport, Progress
from densevit.inference import ClipOptions, SliceOptions
from densevit.labels import Color
from densevit.options import check_bools, check_fields
from densevit.registry import Registry, check_known
from densevit.volumes.grid import Grid

DATASETS = Registry("dataset")
CHECKS = ("open", "load")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Arrays from a data set, tensors from a stream.

    image: (C, *S), label: class numbers (*S), `IGNORE` where no class is known; None for data without labels.
    grid: where the pixels or voxels of the whole image lie; a crop keeps it.
    meta: names of the files as "image" and "label", and in training the number of the "draw".
    foreground: places of voxels by class, see `densevit.data.foreground.foreground_voxels`; None unless it is known.
    """

    image: np.ndarray | Tensor
    label: np.ndarray | Tensor | None
    grid: Grid
    meta: dict[str, Any] = field(default_factory=dict)
    foreground: np.ndarray | None = None


Augment = Callable[[Sample, np.random.Generator], Sample]  # all chance comes from the generator


@dataclass(frozen=True)
class Shown:
    """A picture uint8 (H, W, 3) with its label, where it has one, and its prediction, class numbers (H, W)."""

    image: np.ndarray
    label: np.ndarray | None
    prediction: np.ndarray


def grey(image: Tensor) -> np.ndarray:
    """(H, W) of about mean 0 and deviation 1 -> uint8 (H, W, 3)."""
    return (image * 64 + 128).round().clamp(0, 255).to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).numpy()


class Dataset(Protocol):
    """Samples to train on and to be scored on, with all that a model and its checkpoint need to know of them.

    `spatial_dims` and `in_channels` are those of what the network sees at once, `fill` the values by channel of what
    lies beyond the border of a training sample. `label_values` are the files' values of the classes, None where those
    are the class numbers. `spacing`, in mm (D, H, W), is that of volumes and None for pictures, as is the `modality`
    that sets of volumes may have; `slices` says how a network of pictures sees volumes slice by slice, and is None for
    all others; `clips`, which frames of videos a network sees together, in sets that give videos frame by frame too, as
    `ClipDataset` does. Sets of photos have `exif` too, "ignore" where
    photos are seen as they are stored and not turned upright. With `has_cases` each sample is a case, which is also
    scored by itself.
    """

    cases: Sequence[Case]
    ignore_index: int
    classes: tuple[str, ...]
    palette: list[Color]
    spatial_dims: int
    in_channels: int
    normalization: dict[str, Any]
    fill: Sequence[float]
    slices: SliceOptions | None
    has_cases: bool
    label_values: list[int] | None
    spacing: tuple[float, ...] | None = None
    clips: ClipOptions | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_labels(self) -> bool:
        """Whether every sample has one."""
        return all(case.label is not None for case in self.cases)

    @property
    def names(self) -> list[str]:
        """The image file of each sample, the first where there are several."""
        return [case.name for case in self.cases]

    @property
    def files(self) -> list[str]:
        """Every file that samples are read from, of images and labels."""
        return [path for case in self.cases for path in case.files]

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> Sample:
        """A sample as augmentation gets it: a picture in its file's values, a volume normalised and resampled."""

    def train_sample(self, index: int, *, augment: Augment, rng: np.random.Generator) -> Sample:
        """A sample as `augment` changes it; a picture is normalised afterwards, a volume before."""

    def evaluation_sample(self, index: int) -> Sample:
        """A whole sample, normalised; the label of a volume lies on the scan's own grid, though the image may not."""

    def shown(self, sample: Sample, prediction: Tensor) -> Shown:
        """What is drawn of an evaluation sample as tensors, and of the classes (*S) predicted for it."""

    def check(self, *, progress: Progress | None = None) -> LabelReport:
        """Look at every label once, which is remembered; the first wrong one raises ValueError naming file and fault.

        `progress(done, total)` is called after each file; without it a bar is drawn on stderr for many.
        """

    def inspect(self, index: int) -> tuple[Facts, Sample]:
        """What `check` asks of one sample, and the sample in its files' own values and on their own grid."""

    def judge(self, facts: Mapping[int, Facts]) -> list[Finding]:
        """What is wrong with a set, of which this was found by `inspect`: what `check` raises, or warns of."""


def create_dataset(config: dict) -> Dataset:
    """Open the set that `config` describes, such as dict(type="cityscapes", root="data/cityscapes", split="train").

    With check="open" (the default) every picture and label is checked now, once: what is found is remembered
    until a file changes. With check="load" they are checked as they are read. A missing root, an empty split, an image
    without label, an unknown key and a label value out of range raise ValueError.
    """
    dataset = check_dataset_config(config).open()
    if config.get("check", "open") == "open" and dataset.has_labels:
        dataset.check()
    return dataset


def check_dataset_config(config: dict, registry: Registry = DATASETS) -> Any:
    """The description, by a type of the registry, that `open` makes a set of; touches no file.

    ValueError for an unknown type or key, naming the nearest known one, and for a wrong value.
    """
    if not isinstance(config, Mapping) or "type" not in config:
        raise ValueError(f"a dataset config needs a type, one of {', '.join(registry.names())}; got {config!r}")
    kind, keys = config["type"], {key: config[key] for key in config if key not in ("type", "check")}
    check_known(kind, registry.names(), what=f"no {registry.kind} named")
    takes = registry.parameters(kind)
    for key in keys:
        check_known(key, ["type", "check", *takes], what=f"the dataset {kind!r} has no key")
    if "root" in takes and "root" not in keys:
        raise ValueError(f"the dataset {kind!r} needs root, the folder that holds it")
    if config.get("check", "open") not in CHECKS:
        raise ValueError(f"check must be 'open' or 'load', got {config['check']!r}")
    described = registry.create(kind, **keys)
    if is_dataclass(described):
        check_fields(described, owner=f"the dataset {kind!r}")
    else:
        check_bools(takes, keys, where=f"the dataset {kind!r}: ")
    return described
