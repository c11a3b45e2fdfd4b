"""What was measured of one structure in one case, and what is best and worst of each metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, nan

import numpy as np

from densevit.metrics.lesions import Lesion


@dataclass(frozen=True)
class Kind:
    """Metrics that policies treat alike: as those of the kind `like`, where they do not speak of this one.

    `worst` inf stands for the diagonal of the largest case's box, in mm.
    """

    name: str
    best: float
    worst: float
    like: str = ""


OVERLAP = Kind("overlap", 1.0, 0.0)
VOLUME = Kind("volume", 0.0, 1.0)
SURFACE = Kind("surface", 1.0, 0.0)
HAUSDORFF = Kind("hausdorff", 0.0, inf)
AVERAGE = Kind("average", 0.0, inf)
LESION = Kind("lesion", 1.0, 0.0)
LESION_DISTANCE = Kind("lesion distance", 0.0, inf)
FSCORE = Kind("fscore", 1.0, 0.0, "overlap")
RECALL = Kind("recall", 1.0, 0.0, "overlap")
FROM_COUNTS = {
    "dice": OVERLAP,
    "iou": OVERLAP,
    "precision": OVERLAP,
    "recall": RECALL,
    "fscore": FSCORE,
    "volume_error": VOLUME,
}
METRICS = (
    FROM_COUNTS
    | dict.fromkeys(("hd", "hd95_max", "hd95_pooled", "hd95_surfel"), HAUSDORFF)
    | dict.fromkeys(("assd", "masd", "rmsd"), AVERAGE)
    | dict.fromkeys(("nsd_voxel", "nsd_surfel", "boundary_f", "boundary_iou", "cldice"), SURFACE)
    | dict.fromkeys(("lesion_dice", "lesion_f1", "pq", "sq", "rq"), LESION)
    | {"lesion_hd95": LESION_DISTANCE}
)


def kind_of(column: str) -> Kind:
    """The kind of a column such as `dice` or `nsd_voxel@2`."""
    return METRICS[column.partition("@")[0]]


@dataclass(frozen=True)
class Counts:
    """Voxels of a structure in prediction and truth: in both, in one, in none."""

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, table: np.ndarray, labels: Sequence[int]) -> "Counts":
        """Of the union of some labels, in a confusion matrix (K, K) whose rows are the truth."""
        tp = int(table[np.ix_(labels, labels)].sum())
        fp, fn = int(table[:, labels].sum()) - tp, int(table[labels, :].sum()) - tp
        return cls(tp, fp, fn, int(table.sum()) - tp - fp - fn)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)

    @property
    def total(self) -> int:
        return self.tp + self.fp + self.fn + self.tn

    @property
    def status(self) -> str:
        """`found`; `misplaced` if no voxel is in both; `missed`, `false` or `absent` if one or both are empty."""
        if self.tp:
            return "found"
        if self.fp and self.fn:
            return "misplaced"
        return "missed" if self.fn else "false" if self.fp else "absent"

    def values(self) -> dict[str, float]:
        """Every metric of FROM_COUNTS, nan where it divides by 0."""
        tp, predicted, true = self.tp, self.tp + self.fp, self.tp + self.fn
        dice = _ratio(2 * tp, predicted + true)
        return {
            "dice": dice,
            "iou": _ratio(tp, predicted + true - tp),
            "precision": _ratio(tp, predicted),
            "recall": _ratio(tp, true),
            "fscore": dice,
            "volume_error": _ratio(abs(predicted - true), max(predicted, true)),
        }


@dataclass(frozen=True)
class Record:
    """One structure in one case. `values` are as measured, nan where a definition says nothing: policies fill them.

    `diagonal` is that of the case's box in mm, `voxel_volume` in mm^3 (in 2D mm^2).
    """

    case: str
    structure: str
    counts: Counts
    values: Mapping[str, float]
    diagonal: float
    voxel_volume: float
    lesions: tuple[Lesion, ...] = field(default=(), repr=False)

    @property
    def status(self) -> str:
        return self.counts.status

    @property
    def volumes(self) -> tuple[float, float]:
        """Of prediction and truth."""
        predicted, true = self.counts.tp + self.counts.fp, self.counts.tp + self.counts.fn
        return predicted * self.voxel_volume, true * self.voxel_volume

    @property
    def volume_difference(self) -> float:
        """Signed, (prediction - truth) / truth: the published relative volume difference; nan without truth."""
        prediction, truth = self.volumes
        return _ratio(prediction - truth, truth)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else nan
