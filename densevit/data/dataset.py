"""What every data set offers, of pictures, of volumes, and of slices of volumes."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from densevit.data.label_check import LabelReport, Progress
from densevit.data.sample import Augment, Sample
from densevit.data.shown import Shown
from densevit.inference import SliceOptions
from densevit.labels import Color
from densevit.registry import Registry

DATASETS = Registry("dataset")


class Dataset(Protocol):
    """Samples to train on and to be scored on, with all that a model and its checkpoint need to know of them.

    `spatial_dims` and `in_channels` are those of what the network sees at once, `fill` the values by channel of what
    lies beyond the border of a training sample. `label_values` are the files' values of the classes, None where those
    are the class numbers. `spacing`, in mm (D, H, W), is that of volumes and None for pictures, as is the `modality`
    that sets of volumes may have; `slices` says how a network of pictures sees volumes slice by slice, and is None for
    all others. Sets of photos have `exif` too, "ignore" where photos are seen as they are stored and not turned
    upright. With `has_cases` each sample is a case, which is also scored by itself.
    """

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

    @property
    def spacing(self) -> tuple[float, ...] | None: ...

    @property
    def num_classes(self) -> int: ...

    @property
    def has_labels(self) -> bool:
        """Whether every sample has one."""

    @property
    def names(self) -> list[str]:
        """The image file of each sample, the first where there are several."""

    @property
    def files(self) -> list[str]:
        """Every file that samples are read from, of images and labels."""

    def __len__(self) -> int: ...

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
