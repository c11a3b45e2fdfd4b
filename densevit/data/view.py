"""How an image of any size is shown to a network that classifies it as a whole: one size for all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from densevit.blocks.nd import resize_smoothly
from densevit.data.dataset import Sample
from densevit.options import check_range


@dataclass(frozen=True, kw_only=True)
class ViewOptions:
    """The section `view` of a config.

    size: of what the network sees, (height, width) or (depth, height, width). crop_ratio: the image is resized, its
        proportions kept, until the view is this part of it along the axis where it fits least, as 224 is of 256; None
        takes the middle of the image as it is, which keeps the scale of scans in millimetres.
    """

    size: tuple[int, ...]
    crop_ratio: float | None = 0.875

    def __post_init__(self) -> None:
        check_range(self, ["size"], least=1)
        if self.crop_ratio is not None and not 0 < self.crop_ratio <= 1:
            raise ValueError(f"crop_ratio must be above 0 and at most 1, got {self.crop_ratio}")

    def check_axes(self, spatial_dims: int) -> None:
        """ValueError where it is of images with other axes."""
        if len(self.size) != spatial_dims:
            raise ValueError(f"view.size must have {spatial_dims} numbers, got {self.size}")

    def of(self, image: Tensor) -> Tensor:
        """(C, *S) -> (C, *size): the middle of the image, with zeros, the mean of what is normalised, around it."""
        if image.ndim - 1 != len(self.size):
            raise ValueError(f"view.size must have {image.ndim - 1} numbers for these images, got {self.size}")
        if self.crop_ratio is not None:
            image = self._resized(image)
        pads: list[int] = []
        for wanted, length in zip(reversed(self.size), reversed(image.shape[1:]), strict=True):
            before = (wanted - length) // 2  # below 0 what is cut
            pads += [before, wanted - length - before]
        return F.pad(image, pads)

    def _resized(self, image: Tensor) -> Tensor:
        found = image.shape[1:]
        factor = max(wanted / self.crop_ratio / length for wanted, length in zip(self.size, found, strict=True))
        size = [max(wanted, round(length * factor)) for wanted, length in zip(self.size, found, strict=True)]
        if tuple(size) == tuple(found):
            return image
        return resize_smoothly(image[None], size)[0]


class ViewSet(TorchDataset):
    """The samples of an evaluation set, each as the network sees it."""

    def __init__(self, samples: TorchDataset, view: ViewOptions, order: Sequence[int]):
        self.samples, self.view, self.order = samples, view, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[self.order[index]]
        return replace(sample, image=self.view.of(sample.image))
