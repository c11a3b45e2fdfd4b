"""What is drawn of a sample that a network has seen: colours for its numbers, and one plane of a volume."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from densevit.blocks.nd import resize
from densevit.data.sample import Sample
from densevit.labels import IGNORE
from densevit.normalization import MeanStd, Normalization


@dataclass(frozen=True)
class Shown:
    """A picture uint8 (H, W, 3) with its label, where it has one, and its prediction, class numbers (H, W)."""

    image: np.ndarray
    label: np.ndarray | None
    prediction: np.ndarray


def show_picture(sample: Sample, prediction: Tensor, *, normalize: Normalization) -> Shown:
    """All of a picture (C, H, W) that `normalize` has changed."""
    label = None if sample.label is None else sample.label.numpy()
    return Shown(colors_of(sample.image, normalize=normalize), label, prediction.cpu().numpy())


def show_plane(sample: Sample, prediction: Tensor) -> Shown:
    """The plane (H, W) of a volume that has most voxels of classes other than the first; label on the scan's grid."""
    label, image = sample.label, sample.image
    middle = int(((label > 0) & (label < IGNORE)).sum((1, 2)).argmax())
    place = int((middle + 0.5) * image.shape[1] / len(label))  # the image may have been resampled
    plane = resize(image[None, :1, place], tuple(label.shape[1:]))[0]
    return Shown(_grey(plane), label[middle].numpy(), prediction[middle].cpu().numpy())


def colors_of(image: Tensor, *, normalize: Normalization) -> np.ndarray:
    """Normalised (C, H, W) -> uint8 (H, W, 3): the file's own colours where they are known, else shades of grey."""
    image = image.cpu()
    if not isinstance(normalize, MeanStd) or len(image) != 3 or max(normalize.mean) > 255:
        return _grey(image[:1])
    pixels = image.permute(1, 2, 0) * torch.tensor(normalize.std) + torch.tensor(normalize.mean)
    return pixels.round().clamp(0, 255).to(torch.uint8).numpy()


def _grey(image: Tensor) -> np.ndarray:
    """(1, H, W) of about mean 0 and deviation 1."""
    return (image * 64 + 128).round().clamp(0, 255).to(torch.uint8).expand(3, -1, -1).permute(1, 2, 0).numpy()
