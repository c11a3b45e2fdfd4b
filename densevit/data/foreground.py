"""Where the voxels of each class lie, listed once a case, so that a crop or a slice around one needs no search."""

from collections.abc import Iterator, Sequence

import numpy as np

from densevit.data.dataset import Sample
from densevit.inference import SliceOptions
from densevit.labels import IGNORE
from densevit.volumes.grid import Grid

LIMIT = 2000  # voxels of each class that are remembered
_PIECE = 1 << 21  # voxels that are looked at together
IN_SLICES = 0.5  # how often a slice is drawn that holds a voxel chosen by class: every class but 0 alike


def foreground_voxels(label: np.ndarray, num_classes: int, *, limit: int = LIMIT, seed: int = 0) -> np.ndarray:
    """(D, H, W) uint8 -> (num_classes, limit) int64: where voxels of each class are in the flat label, -1 for no more.

    Classes of more than `limit` voxels keep that many, spread over all of them by chance (`seed`). The label is read
    in pieces, so a memory-mapped one stays on disk. A value that is neither a class nor ignored raises ValueError.
    """
    if limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}")
    counts = np.array([np.bincount(piece, minlength=256) for _, piece in _pieces(label)])
    total = counts.sum(axis=0)
    wrong = [int(value) for value in np.flatnonzero(total) if value >= num_classes and value != IGNORE]
    if wrong:
        raise ValueError(f"the label holds {wrong[0]}, and the classes are 0 to {num_classes - 1}; correct one of them")
    rng = np.random.default_rng(seed)
    ranks = [_spread(int(n), limit=limit, rng=rng) for n in total[:num_classes]]
    found = np.full((num_classes, limit), -1, np.int64)
    seen = np.zeros(num_classes, np.int64)
    for (start, piece), here in zip(_pieces(label), counts, strict=True):
        firsts = np.cumsum(here) - here  # of each class among the sorted voxels of this piece
        order = np.argsort(piece, kind="stable")
        for c in np.flatnonzero(here[:num_classes]):
            low, high = np.searchsorted(ranks[c], (seen[c], seen[c] + here[c]))
            found[c, low:high] = start + order[ranks[c][low:high] - seen[c] + firsts[c]]
        seen += here[:num_classes]
    return found


def draw_voxel(foreground: np.ndarray, picks: Sequence[float], *, weights: Sequence[float] | None = None) -> int | None:
    """The place in the flat label of a voxel of one class, chosen by two numbers from 0 to 1; None if there is none.

    Classes that the case has are taken as often as `weights` say, one number a class with background first; None is
    every class but the background alike.
    """
    weights = [0.0, *(1.0,) * (len(foreground) - 1)] if weights is None else weights
    if len(weights) != len(foreground):
        raise ValueError(f"foreground_weights has {len(weights)} numbers for {len(foreground)} classes; give as many")
    counts = (foreground >= 0).sum(axis=1)
    bounds = np.cumsum(np.where(counts > 0, weights, 0.0))
    if bounds[-1] == 0:
        return None
    chosen = int(np.searchsorted(bounds, picks[0] * bounds[-1], side="right"))
    return int(foreground[chosen, int(picks[1] * counts[chosen])])


def draw_slice(sample: Sample, rng: np.random.Generator, *, slices: SliceOptions) -> Sample:
    """One slice of a volume (C, D, H, W) and its neighbours as channels, with the slice's label (H, W).

    Channels come slice by slice, as `densevit.inference.network.neighbouring_slices` lays them; at the ends the
    outermost slice is repeated. Of an array mapped into memory nothing else is read.
    """
    axis, count = slices.dim, sample.image.shape[slices.dim + 1]
    place, picks = int(rng.integers(count)), rng.random(3)
    if sample.foreground is not None and picks[0] < IN_SLICES:
        voxel = draw_voxel(sample.foreground, picks[1:])
        place = place if voxel is None else int(np.unravel_index(voxel, sample.label.shape)[axis])
    around = (place + np.arange(-slices.neighbours, slices.neighbours + 1)).clip(0, count - 1)
    image = np.moveaxis(sample.image.take(around, axis + 1), axis + 1, 0)
    label = None if sample.label is None else sample.label.take(place, axis)
    image = image.reshape(-1, *image.shape[2:])
    return Sample(image=image, label=label, grid=Grid(image.shape[1:]), meta=sample.meta)


def _pieces(label: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Whole planes of the label, flat, with the place at which each piece begins."""
    plane = int(np.prod(label.shape[1:]))
    step = max(1, _PIECE // max(1, plane))
    for z in range(0, len(label), step):
        yield z * plane, np.ascontiguousarray(label[z : z + step]).ravel()


def _spread(count: int, *, limit: int, rng: np.random.Generator) -> np.ndarray:
    """Rising numbers below `count`: all of them, or one from each of `limit` equal parts."""
    if count <= limit:
        return np.arange(count)
    return ((np.arange(limit) + rng.random(limit)) * (count / limit)).astype(np.int64).clip(max=count - 1)
