"""Slices of volumes as pictures to learn from."""

import numpy as np

from densevit.data.foreground import draw_voxel
from densevit.data.sample import Sample
from densevit.inference import SliceOptions
from densevit.volumes.grid import Grid

FOREGROUND = 0.5  # how often a slice is drawn that holds a voxel chosen by class: every class but 0 alike


def draw_slice(sample: Sample, rng: np.random.Generator, *, slices: SliceOptions) -> Sample:
    """One slice of a volume (C, D, H, W) and its neighbours as channels, with the slice's label (H, W).

    Channels come slice by slice, as `densevit.inference.network.neighbouring_slices` lays them; at the ends the
    outermost slice is repeated. Of an array mapped into memory nothing else is read.
    """
    axis, count = slices.dim, sample.label.shape[slices.dim]
    place, picks = int(rng.integers(count)), rng.random(3)
    if sample.foreground is not None and picks[0] < FOREGROUND:
        voxel = draw_voxel(sample.foreground, picks[1:])
        place = place if voxel is None else int(np.unravel_index(voxel, sample.label.shape)[axis])
    around = (place + np.arange(-slices.neighbours, slices.neighbours + 1)).clip(0, count - 1)
    image = np.moveaxis(sample.image.take(around, axis + 1), axis + 1, 0)
    label = sample.label.take(place, axis)
    return Sample(image=image.reshape(-1, *label.shape), label=label, grid=Grid(label.shape), meta=sample.meta)
