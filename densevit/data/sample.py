"""One picture or volume with its label, as data sets give it, augmentation changes it and models are fed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from densevit.volumes.grid import Grid


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
