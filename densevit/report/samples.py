"""Training samples as the network sees them: pictures beside their overlays, volumes as three planes.

Legend: image (C, *S), label (*S), drawn (H, W, 3) uint8.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from densevit.data.dataset import Dataset, Sample
from densevit.files import replacing
from densevit.labels import overlay
from densevit.report.thumbnails import BESIDE, draw_plane, planes_of


def save_sample(path: str | Path, dataset: Dataset, sample: Sample) -> Path:
    """Write what `draw_sample` draws as PNG."""
    path = Path(path)
    with replacing(path) as aside:
        Image.fromarray(draw_sample(dataset, sample)).save(aside)
    return path


def draw_sample(dataset: Dataset, sample: Sample) -> np.ndarray:
    """A normalised sample as tensors, with the colours of its label: a picture, or a frame of a clip, twice, bare and
    coloured; of a volume the planes through the middle of what is labelled. What lies beyond the border, and is
    ignored, stays bare.
    """
    image, label, palette = sample.image.numpy(), sample.label.numpy(), dataset.palette
    if getattr(dataset, "clips", None) is not None:
        shown = dataset.shown(sample, sample.label)
        bare, coloured = shown.image, overlay(shown.image, shown.label, palette=palette, alpha=0.4)
    elif label.ndim == 3:
        return np.concatenate(planes_of(image, label, palette=palette, spacing=dataset.spacing), axis=1)
    elif dataset.slices is None:
        bare = dataset.shown(sample, sample.label).image
        coloured = overlay(bare, label, palette=palette, alpha=0.4)
    else:  # the slice in the middle is the one that is labelled
        middle = image[image.shape[0] // 2][None]
        bare, coloured = draw_plane(middle, None, palette=palette), draw_plane(middle, label, palette=palette)
    return np.concatenate([bare, np.full((len(bare), BESIDE, 3), 255, np.uint8), coloured], axis=1)
