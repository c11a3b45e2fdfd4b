"""Labels that lie on other places than their images: turned, flipped, or of another image."""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from densevit.data.finding import Finding, some
from densevit.doctor.edges import Agreement, Turn, fit, turns
from densevit.doctor.look import Look

FEWEST = 3  # samples from which something is said of all
CLEAR = 0.04  # of edge strength (0 to 1): how much better, or worse, a turn must fit
CLEAR_OF_FEW = 0.08  # the same in sets of fewer than `FEW` samples
FEW = 8
ENOUGH, LARGER_PART = 5, 0.7  # how many labels, and which share, must lie right for others to be said to lie wrong
MOST = 0.9  # share of the samples that a turn must fit better, or worse
SAME = (
    0.01  # of edge strength: turns that fit alike, such as one and its mirror image where what is seen has a symmetry
)
KEPT = 48  # labels that are laid on one another's images
SWAPPED = 0.1  # how much better the two of a pair must fit when exchanged
AXES = ("depth", "height", "width")


@dataclass
class Turned:
    """Collects how labels fit their images, sample by sample, and says which do not; memory stays small.

    Of small maps of edges and borders those of `KEPT` first samples and of as many whose label fits worst are kept.
    """

    names: list[str] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)
    first: list[tuple[float, str, Agreement]] = field(default_factory=list)
    worst: list[tuple[float, str, Agreement]] = field(default_factory=list)

    def add(self, look: Look) -> None:
        """Samples without borders say nothing."""
        if look.agreement is None:
            return
        entry = (float(look.agreement.scores[0]), look.name, look.agreement)
        self.names.append(look.name)
        self.scores.append(look.agreement.scores.astype(np.float32))
        self.first += [entry] if len(self.first) < KEPT else []
        insort(self.worst, entry, key=lambda each: each[0])
        del self.worst[KEPT:]

    def findings(self) -> list[Finding]:
        """Nothing where borders and edges have little to do with one another, as with tumours in soft tissue."""
        if len(self.names) < FEWEST:
            return []
        scores = np.stack(self.scores)
        gains, kinds = scores - scores[:, :1], turns(_rank(scores))  # NaN where a turn changes the size
        clear = CLEAR if len(gains) >= FEW else CLEAR_OF_FEW
        many = _all_turned(gains, clear, kinds, self.names) or _part_turned(gains, clear, kinds, self.names)
        if many:
            return many
        swapped = self._swapped()
        known = {name for finding in swapped for name in finding.files}
        return [*_single_ones(gains, kinds, self.names, known=known), *swapped]

    def _swapped(self) -> list[Finding]:
        """Pairs whose labels fit better when they are exchanged."""
        typical = [_gain(a[2], b[2]) for a, b in combinations(self.first, 2)]
        if len(typical) < FEWEST or np.median(typical) > -CLEAR:
            return []
        pairs = []
        for first, second in combinations(self.worst, 2):
            gains = _gain(first[2], second[2]), _gain(second[2], first[2])
            if min(gains) >= CLEAR and sum(gains) >= SWAPPED:
                pairs.append((sum(gains), first[1], second[1]))
        files = dict.fromkeys(name for _, *pair in sorted(pairs, reverse=True) for name in pair)
        if not files:
            return []
        _, first, second = max(pairs)
        what = f"the labels of {len(files)} images fit one another's images better than their own, first {first} and "
        mend = "look whether labels were exchanged or named wrongly"
        return [Finding(severity="warning", check="swapped", what=what + second, mend=mend, files=tuple(files))]


def _gain(label: Agreement, image: Agreement) -> float:
    """How much better the borders of one sample fit the image of another than their own."""
    return fit(image.edges, label.borders) - fit(label.edges, label.borders)


def _rank(scores: np.ndarray) -> int:
    return next(rank for rank in (1, 2, 3) if len(turns(rank)) == scores.shape[1])


def _all_turned(gains: np.ndarray, clear: float, kinds: Sequence[Turn], names: Sequence[str]) -> list[Finding]:
    """One turn after which nearly all labels fit clearly better."""
    better = []
    for column, turn in enumerate(kinds):
        known = gains[:, column][~np.isnan(gains[:, column])]
        if column and len(known) >= FEWEST and np.median(known) >= clear and np.mean(known > 0) >= MOST:
            better.append((float(np.median(known)), turn))
    if not better:
        return []
    gain, turn = max(better)
    what = (
        f"the labels do not lie on their images, such as {some(names)}: {describe(turn)}, their borders lie on "
        f"edges that are stronger by {gain:.2f} of 1"
    )
    mend = "look at one, and turn the labels, or mend what wrote them"
    return [Finding(severity="warning", check="turned", what=what, mend=mend, files=tuple(names))]


def _part_turned(gains: np.ndarray, clear: float, kinds: Sequence[Turn], names: Sequence[str]) -> list[Finding]:
    """One turn after which a large part of the labels fit clearly better and the others clearly worse.

    Nearly all of both must then fit better than by any other turn: labels that no edge shows fit by all turns alike.
    """
    best, found = np.maximum(np.nanmax(gains, axis=1), 0), []
    for column, turn in enumerate(kinds):
        gain = gains[:, column]
        known, decided = ~np.isnan(gain), np.abs(gain) >= clear
        if not column or known.sum() < ENOUGH or decided.sum() < LARGER_PART * known.sum():
            continue
        better = decided & (gain > 0)
        fits = best[decided] - np.maximum(gain[decided], 0) <= SAME
        if better.sum() >= (1 - LARGER_PART) * decided.sum() and fits.mean() >= MOST:
            found.append((float(np.median(np.abs(gain[decided]))), turn, np.flatnonzero(better)))
    if not found:
        return []
    gain, turn, odd = max(found, key=lambda each: each[0])
    files = tuple(names[index] for index in odd)
    what = (
        f"{len(files)} of {len(names)} labels lie on their images only after a turn, and the others without: "
        f"{some(files)} would fit {describe(turn)}, on edges that differ by {gain:.2f} of 1"
    )
    mend = "look at some of both, and turn those labels, or mend what wrote them"
    return [Finding(severity="warning", check="turned", what=what, mend=mend, files=files)]


def _single_ones(gains: np.ndarray, kinds: Sequence[Turn], names: Sequence[str], *, known: set[str]) -> list[Finding]:
    """Labels that gain by a turn by which nearly all others lose; of those `known` to be exchanged this is said."""
    found: dict[int, Turn] = {}
    most = np.full(len(gains), CLEAR)
    for column, turn in enumerate(kinds):
        gain = gains[:, column]
        there = gain[~np.isnan(gain)]
        if not column or not len(there) or np.median(there) > -CLEAR:
            continue
        limit = max(CLEAR, -float(np.median(there)) / 2)
        others = there[there <= limit]
        if len(others) < max(ENOUGH, LARGER_PART * len(there)) or np.mean(others < 0) < MOST:
            continue
        for index in np.flatnonzero(np.nan_to_num(gain, nan=-1) > np.maximum(most, limit)):
            found[int(index)], most[index] = turn, gain[index]
    odd = [index for index in sorted(found) if names[index] not in known]
    if not odd:
        return []
    files, turn = tuple(names[index] for index in odd), describe(found[odd[0]])
    what = (
        f"{len(files)} of {len(names)} labels do not lie on their images as the others do: {some(files)}, of which the "
        f"first would fit {turn}"
    )
    mend = "look at them, and turn or replace the labels"
    return [Finding(severity="warning", check="turned", what=what, mend=mend, files=files)]


def describe(turn: Turn) -> str:
    """What is done to a label: "flipped along width", "with depth and height exchanged"."""
    order, flips = turn
    names = AXES[-len(order) :]
    moved = [names[axis] for axis, other in enumerate(order) if axis != other]
    flipped = [name for name, flip in zip(names, flips, strict=True) if flip]
    parts = [f"with {' and '.join(moved)} exchanged"] if moved else []
    parts += [f"flipped along {' and '.join(flipped)}"] if flipped else []
    return " and ".join(parts)
