"""How steady the label maps of a video are from frame to frame; nothing but the maps and the frames is needed.

Legend: label maps (H, W) of class numbers.
"""

from dataclasses import dataclass
from math import isnan, nan

import numpy as np

from densevit.metrics.confusion import ConfusionMatrix

NOWHERE = -1  # no class: what the frame before did not show


@dataclass(frozen=True)
class TemporalScores:
    """`flicker`: of the pixels that stand still from one frame to the next, the share whose class changes.

    `still`: the share of pixels that stand still. `moved_miou`: mIoU between each label map and the one before it,
    moved along with the optical flow (the temporal consistency of https://arxiv.org/abs/2002.11433). All are shares of
    1, of the pixels of all pairs of neighbouring frames together; nan where there is none to count.
    """

    flicker: float
    still: float
    moved_miou: float

    def __str__(self) -> str:
        if isnan(self.still):
            return "one frame, which flickers in nothing"
        flicker, still, moved = (f"{100 * share:.2f} %" for share in (self.flicker, self.still, self.moved_miou))
        return f"flicker {flicker} of the {still} of pixels that stand still, mIoU with the moved map before {moved}"


class TemporalConsistency:
    """Counts pairs of neighbouring label maps; `num_classes` of at least 2."""

    def __init__(self, num_classes: int):
        self.matrix = ConfusionMatrix(num_classes, ignore_index=NOWHERE)
        self.changed = self.still = self.pixels = 0

    def update(self, label: np.ndarray, before: np.ndarray, *, still: np.ndarray, moved: np.ndarray) -> None:
        """Two neighbouring maps, where (H, W) the frames stand `still`, and the map before as it `moved`.

        Pixels of `moved` that are `NOWHERE` are not counted there.
        """
        self.matrix.update(np.asarray(label).astype(np.int32), moved)
        self.changed += int(np.count_nonzero((label != before) & still))
        self.still += int(np.count_nonzero(still))
        self.pixels += still.size

    def compute(self) -> TemporalScores:
        counted = bool(self.matrix.counts.any())
        return TemporalScores(
            flicker=self.changed / self.still if self.still else nan,
            still=self.still / self.pixels if self.pixels else nan,
            moved_miou=self.matrix.compute().mIoU if counted else nan,
        )
