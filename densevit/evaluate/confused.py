"""Which classes are taken for which: a matrix of counts, its most confused pairs, and a case of each to look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from densevit.evaluate.files import Measured
from densevit.options import read_options

MOST_MATRIX = 64  # classes of a matrix that can be read


@dataclass(frozen=True)
class Confused:
    """`pixels` of the class `true` that were predicted as `predicted`, and their share of all that is `true`.

    `case` is where most of them lie, None where that is not known.
    """

    true: str
    predicted: str
    pixels: int
    share: float
    case: str | None


@dataclass(frozen=True)
class Matrix:
    """(K, K) voxels of true (rows) and predicted classes, in the order of `names`.

    `examples` has, by (true, predicted) number in that order, the case with the most of these voxels.
    """

    names: Sequence[str]
    counts: np.ndarray
    examples: Mapping[tuple[int, int], str] = field(default_factory=dict)

    @property
    def shares(self) -> np.ndarray:
        """Of each true class."""
        return self.counts / np.maximum(self.counts.sum(1, keepdims=True), 1)

    def most_confused(self, count: int = 10) -> list[Confused]:
        """The pairs of different classes by their share of the true class, the largest first."""
        shares = self.shares * ~np.eye(len(self.names), dtype=bool)
        pairs = [divmod(int(place), len(self.names)) for place in np.argsort(-shares, axis=None, kind="stable")[:count]]
        return [
            Confused(
                self.names[t], self.names[p], int(self.counts[t, p]), float(shares[t, p]), self.examples.get((t, p))
            )
            for t, p in pairs
            if shares[t, p] > 0
        ]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `read_matrix` reads it."""
        examples = [dict(true=t, predicted=p, case=case) for (t, p), case in self.examples.items()]
        return dict(classes=list(self.names), counts=self.counts.tolist(), examples=examples)


@dataclass(frozen=True)
class _Example:
    true: int
    predicted: int
    case: str


@dataclass(frozen=True)
class _Written:
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    examples: tuple[_Example, ...] = ()

    def __post_init__(self) -> None:
        if {len(row) for row in self.counts} | {len(self.counts)} != {len(self.classes)}:
            raise ValueError(f"counts must be {len(self.classes)} rows of as many numbers, one for each class")


def read_matrix(content: Any, *, where: str = "confusion") -> Matrix:
    """The matrix that `as_dict` wrote; ValueError, which begins with `where`, for what is none."""
    found = read_options(_Written, content, where=where)
    return Matrix(found.classes, np.array(found.counts), {(e.true, e.predicted): e.case for e in found.examples})


def matrix_of(measured: Measured) -> Matrix | None:
    """None where it was not counted, and where a pixel may be of two structures; classes that occur nowhere are left
    out."""
    labels = measured.structures.labels
    place = {value: i for i, values in enumerate(labels.values()) for value in values}
    names = list(labels)
    if len(place) < sum(map(len, labels.values())):
        return None
    if any(value not in place for pair in measured.confusion for value in pair):
        names.append("no class")
    counts = np.zeros((len(names), len(names)), np.int64)
    most: dict[tuple[int, int], tuple[int, str]] = {}
    for (truth, predicted), count in measured.confusion.items():
        pair = place.get(truth, len(labels)), place.get(predicted, len(labels))
        counts[pair] += count
        if (truth, predicted) in measured.examples:
            most[pair] = max(most.get(pair, (0, "")), measured.examples[truth, predicted])
    there = np.flatnonzero(counts.any(0) | counts.any(1)).tolist()
    if not there:
        return None
    examples = {(there.index(t), there.index(p)): case for (t, p), (_, case) in most.items()}
    return Matrix([names[i] for i in there], counts[there][:, there], examples)
