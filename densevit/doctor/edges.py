"""How well the borders of a label lie on the edges of its image, as it is and under every turn that fits.

A turn is a permutation and flips of the axes: 8 of a square, 48 of a cube; those that keep the size are tried.
Legend: image (C, *S), label (*S).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

import numpy as np

from densevit.labels import IGNORE

PIXELS = 500_000  # that are looked at; larger images are averaged down
POINTS = 20_000  # of borders
SAMPLED = 20_000  # pixels, from which the ranks of edges are taken
FEWEST = 100  # points of a border from which something can be said
MAP = 16384  # pixels of a small map, by which labels are compared with other images
Turn = tuple[tuple[int, ...], tuple[bool, ...]]  # which axis comes where, and which are then flipped


@cache
def turns(rank: int) -> tuple[Turn, ...]:
    """All of them, the one that changes nothing first."""
    return tuple(product(permutations(range(rank)), product((False, True), repeat=rank)))


@dataclass(frozen=True)
class Agreement:
    """The mean strength, 0 to 1, of image edges under the label's borders for each of `turns`, NaN where sizes differ.

    `edges` and `borders` are small maps, by which the label can be laid on other images.
    """

    scores: np.ndarray
    edges: np.ndarray
    borders: np.ndarray


def agreement(image: np.ndarray, label: np.ndarray) -> Agreement | None:
    """None where the label has next to no borders, or the image no edges."""
    edges, label = edge_ranks(image), _every(label, _step(label.shape))
    label = label[tuple(slice(n) for n in edges.shape)]
    borders = borders_of(label)
    points = np.argwhere(borders)
    if len(points) < FEWEST or not edges.any():
        return None
    points = points[:: -(-len(points) // POINTS)]
    scores = np.array([_score(edges, points, turn) for turn in turns(edges.ndim)])
    small = _step(edges.shape, MAP)
    return Agreement(scores, _blocks(edges, small).astype(np.float16), _blocks(borders, small) > 0)


def fit(edges: np.ndarray, borders: np.ndarray) -> float:
    """The score of a small map of borders on that of another image; the sizes may differ."""
    points = np.argwhere(borders)
    places = (points + 0.5) * np.array(edges.shape) / np.array(borders.shape)
    return float(edges[tuple(places.astype(int).T)].mean(dtype=np.float32))


def edge_ranks(image: np.ndarray) -> np.ndarray:
    """(*S), smaller where it is large: how strong an edge is, as the share of places where it is weaker."""
    total = 0.0
    for channel in image:
        values = _blocks(channel, _step(channel.shape))
        values = values / max(float(values.std()), 1e-12)
        slopes = [np.gradient(values, axis=axis) if n > 1 else 0.0 for axis, n in enumerate(values.shape)]
        total = np.maximum(total, sum(slope**2 for slope in slopes))
    limits = np.quantile(total.ravel()[:: max(1, total.size // SAMPLED)], np.linspace(0, 1, 257)[1:-1])
    return (np.searchsorted(limits, total) / np.float32(255)).astype(np.float32)


def borders_of(label: np.ndarray) -> np.ndarray:
    """True on both sides of where two classes meet; ignored pixels have no border."""
    found, known = np.zeros(label.shape, bool), label != IGNORE
    for axis, n in enumerate(label.shape):
        before, after = ([slice(None)] * axis + [part] for part in (slice(n - 1), slice(1, n)))
        before, after = tuple(before), tuple(after)
        differ = (label[before] != label[after]) & known[before] & known[after]
        found[before] |= differ
        found[after] |= differ
    return found


def _score(edges: np.ndarray, points: np.ndarray, turn: Turn) -> float:
    order, flips = turn
    size = np.array(edges.shape)
    if tuple(size[list(order)]) != edges.shape:
        return np.nan
    places = points[:, order]
    places = np.where(flips, size - 1 - places, places)
    return float(edges[tuple(places.T)].mean())


def _step(size: Sequence[int], most: int = PIXELS) -> tuple[int, ...]:
    """By how much each axis is made smaller, so that about `most` pixels are left."""
    step = max(1.0, (np.prod(size, dtype=float) / most) ** (1 / len(size)))
    return tuple(max(1, min(n, int(np.ceil(step)))) for n in size)


def _blocks(array: np.ndarray, step: Sequence[int]) -> np.ndarray:
    """Means of blocks; what is left over at the end of an axis is cut off."""
    sizes = [n // s for n, s in zip(array.shape, step, strict=True)]
    cut = array[tuple(slice(n * s) for n, s in zip(sizes, step, strict=True))]
    split = [k for n, s in zip(sizes, step, strict=True) for k in (n, s)]
    return cut.reshape(split).mean(axis=tuple(range(1, 2 * len(sizes), 2)), dtype=np.float32)


def _every(array: np.ndarray, step: Sequence[int]) -> np.ndarray:
    return array[tuple(slice(s // 2, None, s) for s in step)]
