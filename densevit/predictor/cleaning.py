"""Label maps made tidy on request: the largest piece of a structure alone, its holes filled.

Legend: label (D, H, W) of the file's values, in which 0 is background; structures are worked on in their boxes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from densevit.registry import check_known


@dataclass(frozen=True, kw_only=True)
class Cleaning:
    """Names of the classes whose largest piece alone is kept, and of those whose holes are filled; () means every one
    but the background, None none.

    Voxels that touch by a corner are of one piece, and a hole that is open by a corner is none. What is taken away
    becomes background (0). Only background is filled: a tumour inside a liver stays a tumour.
    """

    largest_component: Sequence[str] | None = None
    fill_holes: Sequence[str] | None = None

    def check(self, classes: Sequence[str], values: Sequence[int]) -> None:
        """ValueError for a class that a checkpoint lacks, for its background, and where it has none."""
        values = [int(value) for value in values]
        for name in (*(self.largest_component or ()), *(self.fill_holes or ())):
            check_known(name, classes, what="no class to clean up is named")
            if values[list(classes).index(name)] == 0:
                raise ValueError(f"{name!r} has the label value 0, which is background; name the structures instead")
        if self.largest_component is not None and 0 not in values:
            raise ValueError("the classes have no background (label value 0) that smaller pieces could become")

    def __call__(self, label: np.ndarray, *, classes: Sequence[str], values: Sequence[int]) -> None:
        """Change `label` in place: pieces first, then holes, each in the order of names."""
        if self.largest_component is self.fill_holes is None:
            return
        from scipy import ndimage

        value = {name: int(v) for name, v in zip(classes, values, strict=True)}
        for names, clean in ((self.largest_component, keep_largest_component), (self.fill_holes, fill_holes)):
            if names is None:
                continue
            boxes = ndimage.find_objects(label)
            for number in (value[name] for name in names or classes):
                if 0 < number <= len(boxes) and boxes[number - 1] is not None:
                    clean(label[boxes[number - 1]], number)


def keep_largest_component(label: np.ndarray, value: int) -> None:
    """Turn all but the largest piece of a structure into background, in place; of equals the first is kept."""
    from scipy import ndimage

    pieces, count = ndimage.label(label == value, structure=np.ones((3,) * label.ndim, bool))
    if count > 1:
        sizes = np.bincount(pieces.ravel())
        sizes[0] = 0
        label[(pieces != sizes.argmax()) & (pieces != 0)] = 0


def fill_holes(label: np.ndarray, value: int) -> None:
    """Give a structure the background that it encloses, in place; `label` is its box or more."""
    from scipy import ndimage

    outside = label != value
    pieces, count = ndimage.label(outside, structure=np.ones((3,) * label.ndim, bool))
    enclosed = np.ones(count + 1, bool)
    enclosed[0] = False
    for axis in range(label.ndim):
        for end in (0, -1):
            enclosed[pieces.take(end, axis)] = False
    if enclosed.any():
        label[enclosed[pieces] & (label == 0)] = value
