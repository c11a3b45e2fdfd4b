"""Every label of a set, read once: wrong values and sizes are found before training, and pixels a class counted."""

import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from densevit.data.cache.label_cache import LabelCache
from densevit.data.picture_set import SegmentationDataset
from densevit.labels import IGNORE
from densevit.pictures.picture import read_view
from densevit.pictures.reading import read_oriented_label
from densevit.progress import Bars

logger = logging.getLogger("densevit")
_BAR_FROM = 200  # files; fewer take no time worth a progress bar


@dataclass(frozen=True)
class LabelReport:
    """Pixels of each class (N, K) and ignored pixels (N,) of the N label files, in the order of `dataset.files`."""

    counts: np.ndarray
    ignored: np.ndarray

    @property
    def all_ignored(self) -> list[int]:
        """Indices of the labels in which every pixel is ignored."""
        return np.flatnonzero(self.counts.sum(1) == 0).tolist()


def check_labels(
    dataset: SegmentationDataset, *, progress: Callable[[int, int], None] | None = None, workers: int | None = None
) -> LabelReport:
    """Read every label of `dataset`; the first bad one raises ValueError naming file and value.

    What was found is kept in a small file in the user's cache folder and holds until a file's size or time changes.
    `progress(done, total)` is called after each file; without it a bar is drawn on stderr for large sets. Labels in
    which every pixel is ignored are warned about, once and with names.
    """
    if not dataset.has_labels:
        raise ValueError("check_labels needs a set with labels, and this one was opened without")
    cache = LabelCache.open(dataset)
    found = [cache.get(pair) for pair in dataset.files]
    todo = [index for index, entry in enumerate(found) if entry is None]
    workers = workers or min(8, os.cpu_count() or 1)
    try:
        with ThreadPoolExecutor(workers) as pool, Bars(enabled=len(todo) >= _BAR_FROM) as bars:
            show = progress or partial(bars.show, "checking labels")
            results = pool.map(lambda index: _count(dataset, index), todo)
            for done, (index, values) in enumerate(zip(todo, results, strict=True), start=1):
                found[index] = values
                cache.put(dataset.files[index], values)
                show(done, len(todo))
    finally:
        if todo:
            cache.save()
    report = _report(found, num_classes=dataset.num_classes)
    _check_not_black_and_white(dataset, report)
    _check_something_is_labelled(dataset, report)
    return report


def _count(dataset: SegmentationDataset, index: int) -> dict[int, int]:
    """{train id or 255: pixels} of one label, whose size is compared with its image's."""
    image, path = dataset.files[index]
    label, turned = dataset.read_label(path)
    dataset.check_fit((image, path), image=read_view(image), label=(label.shape, turned))
    counts = np.bincount(label.ravel(), minlength=IGNORE + 1)
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def _report(found: list[dict[int, int]], *, num_classes: int) -> LabelReport:
    counts = np.array([[entry.get(k, 0) for k in range(num_classes)] for entry in found], np.int64)
    return LabelReport(counts, np.array([entry.get(IGNORE, 0) for entry in found], np.int64))


def _check_not_black_and_white(dataset: SegmentationDataset, report: LabelReport) -> None:
    """Black-and-white masks pass as class 0 and ignored, and a network would learn nothing from them."""
    if dataset.num_classes < 2 or report.counts[:, 1:].any() or not report.counts.any() or not report.ignored.any():
        return
    path = dataset.files[int(report.ignored.argmax())][1]
    coding = dataset.coding_of(path)
    if coding.color_map is None and set(np.unique(read_oriented_label(path)[0]).tolist()) <= {0, 255}:
        raise ValueError(
            f"the {len(dataset)} labels have no values but 0 and 255 (first {path}), and 255 means ignored: if these "
            "are black-and-white masks, label_map={255: 1} with ignore_index='none' reads white as class 1"
        )


def _check_something_is_labelled(dataset: SegmentationDataset, report: LabelReport) -> None:
    """A label that is ignored throughout is a warning; a set of nothing else can neither teach nor score."""
    empty = report.all_ignored
    if empty:
        names = ", ".join(dataset.files[index][1] for index in empty[:3]) + (", ..." if len(empty) > 3 else "")
        if len(empty) == len(dataset):
            raise ValueError(
                f"in all {len(dataset)} labels every pixel is ignored ({names}): nothing can be learned or scored; "
                "check ignore_index, reduce_zero_label and the values in these files"
            )
        logger.warning("in %d of %d labels every pixel is ignored: %s", len(empty), len(dataset), names)
