"""Every label of a set, looked at once: wrong values and sizes are found before training, and pixels counted."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from densevit.data.finding import Finding, some
from densevit.data.findings import Files, Findings, file_stamps
from densevit.labels import IGNORE
from densevit.progress import Bars

FEW = 0.1  # of all labels: so many may have one class alone
_BAR_FROM = 200  # files; fewer take no time worth a progress bar
Progress = Callable[[int, int], None]  # of how many are done, and how many there are
Facts = dict[str, Any]  # ready for JSON


@dataclass(frozen=True)
class LabelReport:
    """Pixels or voxels of each class (N, K) and ignored ones (N,) of N labels, in the order of the set's samples."""

    counts: np.ndarray
    ignored: np.ndarray

    @classmethod
    def of(cls, counts: Sequence[dict[str, int]], *, num_classes: int) -> "LabelReport":
        """From what `count_classes` found in each label."""
        table = [[each.get(str(value), 0) for value in range(num_classes)] for each in counts]
        return cls(np.array(table, np.int64), np.array([each.get(str(IGNORE), 0) for each in counts], np.int64))

    def findings(
        self,
        classes: Sequence[str],
        *,
        labels: Sequence[str],
        remarks: Sequence[str] = (),
    ) -> list[Finding]:
        """Labels that are ignored throughout, or look like masks of another convention, and classes that are in no
        label. Of `remarks` on single labels the first is said, and how many there are.
        """
        empty = [labels[index] for index in np.flatnonzero(self.counts.sum(1) == 0)]
        if len(empty) == len(labels):
            what = (
                f"in all {len(labels)} labels every pixel is ignored ({some(empty)}): nothing can be learned or scored"
            )
            mend = "check ignore_index, reduce_zero_label and the values in these files"
            return [Finding(severity="error", check="ignored", what=what, mend=mend, files=tuple(empty))]
        warn = partial(Finding, severity="warning")
        found = []
        if empty:
            what = f"in {len(empty)} of {len(labels)} labels every pixel is ignored: {some(empty)}"
            mend = "label them, or leave them out: they teach nothing"
            found.append(warn(check="ignored", what=what, mend=mend, files=tuple(empty)))
        if remarks:
            more = f"; so do {len(remarks) - 1} others" if len(remarks) > 1 else ""
            found.append(Finding.said(f"{remarks[0]}{more}", severity="warning", check="geometry"))
        return [*found, *self._absent(classes, labels), *self._only(classes, labels), *self._alone(classes, labels)]

    def _absent(self, classes: Sequence[str], labels: Sequence[str]) -> list[Finding]:
        """Classes that are in no label; of the first alone, labels that count from one."""
        absent = [name for name, count in zip(classes, self.counts.sum(0), strict=True) if not count]
        if not absent:
            return []
        what = (
            f"{len(absent)} of {len(classes)} classes are in none of the {len(labels)} labels, and can be neither "
            f"learned nor scored: {some(absent)}"
        )
        mend = "leave them out of the classes, or add images of them"
        if absent == [classes[0]]:
            mend = "if the labels count from 1 the names are off by one: take care that each value has its own name"
        return [Finding(severity="warning", check="classes", what=what, mend=mend)]

    def _only(self, classes: Sequence[str], labels: Sequence[str]) -> list[Finding]:
        """One class in all labels: a network that always answers it is right wherever it is asked."""
        (there,) = np.nonzero(self.counts.sum(0))
        if len(there) != 1 or not self.ignored.any():
            return []
        what = f"the {len(labels)} labels hold no class but {classes[there[0]]}, and all else is ignored"
        mend = "if the ignored value is a class too, such as the background, name it as one"
        return [Finding(severity="warning", check="classes", what=what, mend=mend, files=tuple(labels))]

    def _alone(self, classes: Sequence[str], labels: Sequence[str]) -> list[Finding]:
        """Masks of 0 and 255 among masks of 0 and 1."""
        others = self.counts[:, 1:].any(1)
        alone = np.flatnonzero(~others & (self.counts[:, 0] > 0) & (self.ignored > 0))
        if not others.any() or not len(alone) or len(alone) < (1 if len(classes) == 2 else FEW * len(labels)):
            return []
        files = tuple(labels[index] for index in alone)
        what = (
            f"in {len(alone)} of {len(labels)} labels the only class is {classes[0]} and all else is ignored, while "
            f"others hold more: {some(files)}"
        )
        mend = "if some masks are 0 and 255 and others 0 and 1, bring them to one convention"
        return [Finding(severity="warning", check="masks", what=what, mend=mend, files=files)]


def constant_images(images: Sequence[str]) -> list[Finding]:
    """Of these images, in each of which all values are the same."""
    if not images:
        return []
    what = f"in {len(images)} images every value is the same: {some(images)}"
    mend = "get them again, or leave them out"
    return [Finding(severity="warning", check="constant", what=what, mend=mend, files=tuple(images))]


def count_classes(label: np.ndarray) -> dict[str, int]:
    """{class number: pixels} of a label of bytes, with text for the numbers, as JSON has it."""
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
    return {str(value): int(counts[value]) for value in np.flatnonzero(counts)}


def look_once(
    items: Sequence[Files], look: Callable[[int], Facts], *, asked: str, progress: Progress | None = None
) -> list[Facts]:
    """What `look` finds in each item's files, by its index; what was found before is remembered until a file changes.

    `asked` says all that decides what is found. What `look` raises is raised, after the others' facts were kept.
    """
    memory = Findings()
    found = memory.recall(items, asked)
    todo = [index for index, facts in enumerate(found) if facts is None]
    stamps = {index: file_stamps(items[index]) for index in todo}
    try:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, Bars(enabled=len(todo) >= _BAR_FROM) as bars:
            show = progress or partial(bars.show, "checking labels")
            for done, (index, facts) in enumerate(zip(todo, pool.map(look, todo), strict=True), start=1):
                found[index] = facts
                show(done, len(todo))
    finally:
        memory.remember([(items[i], stamps[i], found[i]) for i in todo if found[i] is not None], asked)
    return found
