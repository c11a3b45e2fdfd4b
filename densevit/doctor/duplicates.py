"""Images that are there twice, or nearly, within a split and between splits."""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from densevit.data.finding import Finding
from densevit.doctor.look import Look

ALIKE = 0.95  # correlation of the slopes of two thumbnails, above which images are nearly the same
ROWS = 1000  # of a comparison of all with all at once


def duplicate_findings(splits: Mapping[str, Sequence[Look]]) -> list[Finding]:
    """Within each split, then between each two: what is trained on must not be validated on."""
    found = []
    for split, looks in splits.items():
        found += [*_same_bytes(split, looks), *_alike(split, looks)]
    for first, second in combinations(splits, 2):
        found += _leaks(first, splits[first], second, splits[second])
    return found


def _same_bytes(split: str, looks: Sequence[Look]) -> list[Finding]:
    seen: dict[bytes, str] = {}
    pairs = []
    for look in looks:
        if look.digest in seen:
            pairs.append((seen[look.digest], look.name))
        seen.setdefault(look.digest, look.name)
    if not pairs:
        return []
    (first, second), files = pairs[0], tuple(dict.fromkeys(name for pair in pairs for name in pair))
    what = f"{len(pairs)} of {len(looks)} images are there twice, byte for byte, first {second}, the same as {first}"
    mend = "leave one of each out: what is there twice counts twice"
    return [Finding(severity="warning", check="copies", what=what, mend=mend, files=files, split=split)]


def _alike(split: str, looks: Sequence[Look]) -> list[Finding]:
    pairs = [(a, b) for a, b in nearest(looks, looks) if looks[a].digest != looks[b].digest]
    if not pairs:
        return []
    (a, b), files = pairs[0], tuple(looks[index].name for index in sorted({a for a, _ in pairs}))
    what = (
        f"{len(files)} of {len(looks)} images are nearly the same as another one, as frames of a video are, first "
        f"{looks[a].name} and {looks[b].name}"
    )
    mend = "count them as one when you judge how much data there is, and keep them on one side of a split"
    return [Finding(severity="note", check="alike", what=what, mend=mend, files=files, split=split)]


def _leaks(first: str, looks: Sequence[Look], second: str, others: Sequence[Look]) -> list[Finding]:
    """Images of one split that are in the other too, byte for byte, and others that are nearly the same."""
    known = {look.digest: look.name for look in looks}
    copies = {look.name: known[look.digest] for look in others if look.digest in known}
    both, found = f"{first}, {second}", []
    if copies:
        name, twin = next(iter(copies.items()))
        what = f"{len(copies)} of {len(others)} images of {second} are in {first} too, first {name}, the same as {twin}"
        mend = f"take them out of {first}, or scores on {second} say nothing"
        found.append(Finding(severity="error", check="leak", what=what, mend=mend, files=tuple(copies), split=both))
    pairs = [(b, a) for b, a in nearest(others, looks) if others[b].name not in copies]
    if pairs:
        (b, a), files = pairs[0], tuple(others[index].name for index, _ in pairs)
        what = (
            f"{len(files)} of {len(others)} images of {second} are nearly the same as one of {first}, first "
            f"{others[b].name} and {looks[a].name}"
        )
        mend = "split by scene, video or patient: scores are too good where the split knows what it is trained on"
        found.append(Finding(severity="warning", check="leak", what=what, mend=mend, files=files, split=both))
    return found


def nearest(looks: Sequence[Look], others: Sequence[Look]) -> list[tuple[int, int]]:
    """(index, index of the other that is most alike) of those that have one that is nearly the same."""
    ours, theirs = ([i for i, look in enumerate(each) if look.slopes is not None] for each in (looks, others))
    found = []
    kinds = {looks[i].slopes.size for i in ours} & {others[i].slopes.size for i in theirs}
    if not kinds:
        return []
    table = np.stack([others[i].slopes for i in theirs]).astype(np.float32)
    for start in range(0, len(ours), ROWS):
        rows = ours[start : start + ROWS]
        alike = np.stack([looks[i].slopes for i in rows]).astype(np.float32) @ table.T
        if looks is others:
            alike[np.arange(len(rows)), np.arange(start, start + len(rows))] = -1
        best = alike.argmax(1)
        found += [(i, theirs[k]) for i, k, row in zip(rows, best, alike, strict=True) if row[k] >= ALIKE]
    return found
