"""Images that are there twice, or nearly, within a split and between splits."""

import re
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import PurePath

import numpy as np

from densevit.data.finding import Finding
from densevit.doctor.look import Look

ALIKE = 0.95  # correlation of the slopes of two thumbnails, above which images are nearly the same
SEQUENCE = re.compile(r"(.*\d.*\D)\d+\D*")  # a name with several numbers, and what stands before the last
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
    known_now = {*copies, *(others[b].name for b, _ in pairs)}
    return found + _sequences(first, looks, second, [look for look in others if look.name not in known_now])


def _sequences(first: str, looks: Sequence[Look], second: str, others: Sequence[Look]) -> list[Finding]:
    """Images of both splits that are called alike up to their last number: frames of a video, slices of a patient."""
    known = {sequence: look.name for look in looks if (sequence := _sequence(look.name))}
    twins = {look.name: known[_sequence(look.name)] for look in others if _sequence(look.name) in known}
    if not twins:
        return []
    name, twin = next(iter(twins.items()))
    what = (
        f"{len(twins)} images of {second} are called like images of {first} up to their last number, first {name} and "
        f"{twin}"
    )
    mend = "if what stands before it names a video, a place or a patient, keep each on one side of the split"
    both = f"{first}, {second}"
    return [Finding(severity="note", check="leak", what=what, mend=mend, files=tuple(twins), split=both)]


def _sequence(name: str) -> str:
    """`p07_slice` of p07_slice012.png; nothing where the last number is the only one."""
    found = SEQUENCE.fullmatch(PurePath(name).name.partition(".")[0])
    return found[1] if found else ""


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
