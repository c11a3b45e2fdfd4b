"""Every label of a set, looked at once: wrong values and sizes are found before training, and pixels counted."""

import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from densevit.data.findings import Files, Findings, file_stamps
from densevit.labels import IGNORE
from densevit.progress import Bars

logger = logging.getLogger("densevit")
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

    def review(
        self,
        classes: Sequence[str],
        *,
        labels: Sequence[str],
        constant: Sequence[str] = (),
        remarks: Sequence[str] = (),
    ) -> None:
        """Warn of labels that are ignored throughout, or look like masks of another convention, of classes in no label,
        and of `constant` images. Of `remarks` on single labels the first is said, and how many there are.

        ValueError where all labels are ignored throughout.
        """
        empty = [labels[index] for index in np.flatnonzero(self.counts.sum(1) == 0)]
        if len(empty) == len(labels):
            raise ValueError(
                f"in all {len(labels)} labels every pixel is ignored ({_some(empty)}): nothing can be learned or "
                "scored; check ignore_index, reduce_zero_label and the values in these files"
            )
        if empty:
            logger.warning("in %d of %d labels every pixel is ignored: %s", len(empty), len(labels), _some(empty))
        if remarks:
            logger.warning("%s%s", remarks[0], f"; so do {len(remarks) - 1} others" if len(remarks) > 1 else "")
        absent = [name for name, count in zip(classes, self.counts.sum(0), strict=True) if not count]
        if absent:
            logger.warning(
                "%d of %d classes are in none of the %d labels, and can be neither learned nor scored: %s",
                *(len(absent), len(classes), len(labels), _some(absent)),
            )
        others = self.counts[:, 1:].any(1)
        alone = np.flatnonzero(~others & (self.counts[:, 0] > 0) & (self.ignored > 0))
        if others.any() and len(alone) >= (1 if len(classes) == 2 else FEW * len(labels)) and len(alone):
            logger.warning(
                "in %d of %d labels the only class is %s and all else is ignored, while others hold more: if some "
                "masks are 0 and 255 and others 0 and 1, bring them to one convention: %s",
                *(len(alone), len(labels), classes[0], _some([labels[index] for index in alone])),
            )
        if constant:
            logger.warning("in %d images every value is the same: %s", len(constant), _some(constant))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


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
