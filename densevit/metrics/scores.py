"""Scores of semantic segmentation by mmsegmentation's names, which they are but for missed classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import torch
from torch import Tensor

from densevit.metrics.policies import POLICIES
from densevit.metrics.records import Counts, Record
from densevit.metrics.summary import accuracy, summarize

# Column of a table, field of SegmentationScores.
COLUMNS = {
    "IoU": "iou",
    "Acc": "acc",
    "Dice": "dice",
    "Fscore": "fscore",
    "Precision": "precision",
    "Recall": "recall",
}
POLICY = POLICIES["honest"]


@dataclass(frozen=True)
class SegmentationScores:
    """Per class (K,) float64 fractions under the policy `honest`; the means leave nan out: all scores of a class that
    neither label nor prediction holds, and `acc` (which is `recall`) where the label does not hold it.

    A class that was always missed has `precision` 0, and `fscore` is `dice`, two names of 2 tp / (2 tp + fp + fn):
    mmsegmentation leaves missed classes out of both means, which makes them better than the rest.
    `case_dice`, where it was measured, is the mean over cases of each case's own Dice, as is usual for volumes. Class 0
    is then the background, and counts in no mean over classes.
    """

    aAcc: float
    iou: Tensor
    acc: Tensor
    dice: Tensor
    fscore: Tensor
    precision: Tensor
    recall: Tensor
    case_dice: Tensor | None = None

    @property
    def mIoU(self) -> float:
        return self._mean(self.iou)

    @property
    def mAcc(self) -> float:
        return self._mean(self.acc)

    @property
    def mDice(self) -> float:
        return self._mean(self.dice)

    @property
    def mFscore(self) -> float:
        return self._mean(self.fscore)

    @property
    def mPrecision(self) -> float:
        return self._mean(self.precision)

    @property
    def mRecall(self) -> float:
        return self._mean(self.recall)

    @property
    def mCaseDice(self) -> float:
        return float("nan") if self.case_dice is None else self._mean(self.case_dice)

    def _mean(self, scores: Tensor) -> float:
        """Over the classes, of volumes without the background."""
        return POLICY.mean_over_structures(scores[0 if self.case_dice is None else 1 :].tolist())

    def as_dict(self, classes: Sequence[str]) -> dict:
        """JSON-ready, in percent: `aAcc`, `mIoU`, ..., and under `classes` the scores of each; nan becomes None."""
        self._check_names(classes)
        per_class = {
            name: {column: _percent(float(getattr(self, field)[i])) for column, field in self._columns().items()}
            for i, name in enumerate(classes)
        }
        return {**{name: _percent(value) for name, value in self._means().items()}, "classes": per_class}

    def table(self, classes: Sequence[str]) -> str:
        """Text tables in percent, one row per class and one of the means."""
        from densevit.tables import format_table  # which imports rich

        scores = self.as_dict(classes)
        rows = [{"Class": name} | {c: _shown(v) for c, v in row.items()} for name, row in scores.pop("classes").items()]
        summary = {name: _shown(value) for name, value in scores.items()}
        tables = [format_table(part, style="framed") for part in (rows, [summary])]
        means = "summary" if self.case_dice is None else f"summary, means without {classes[0]}"
        return f"per class results:\n\n{tables[0]}\n\n{means}:\n\n{tables[1]}"

    def _columns(self) -> dict[str, str]:
        return COLUMNS if self.case_dice is None else {**COLUMNS, "CaseDice": "case_dice"}

    def _means(self) -> dict[str, float]:
        return {"aAcc": self.aAcc, **{f"m{column}": getattr(self, f"m{column}") for column in self._columns()}}

    def _check_names(self, classes: Sequence[str]) -> None:
        if len(classes) != len(self.iou) or len(set(classes)) != len(classes):
            raise ValueError(f"expected {len(self.iou)} different class names, got {list(classes)}")


def scores_from_records(records: Sequence[Record], *, by_case: bool = False) -> SegmentationScores:
    """Scores over all pixels of records of every class, the background too; `by_case` each case's own Dice as well.

    ValueError for records that lack a class, of regions, or of which two are one case's.
    """
    means = {(row.level, row.metric, row.structure): row.mean for row in summarize(records, POLICY).rows}
    classes = list(dict.fromkeys(record.structure for record in records))

    def column(level: str, metric: str) -> Tensor:
        return torch.tensor([means[level, metric, name] for name in classes], dtype=torch.float64)

    of_set = {field: column("set", "recall" if field == "acc" else field) for field in COLUMNS.values()}
    return SegmentationScores(accuracy(records), **of_set, case_dice=column("case", "dice") if by_case else None)


def scores_from_counts(counts: Tensor) -> SegmentationScores:
    """(K, K) counts, rows are the truth -> scores."""
    found = [Counts.of(counts.numpy(), [i]) for i in range(len(counts))]
    return scores_from_records([Record("", str(i), each, each.values(), nan, nan) for i, each in enumerate(found)])


def _percent(value: float) -> float | None:
    return None if value != value else 100 * value


def _shown(percent: float | None) -> str:
    return "nan" if percent is None else f"{percent:.2f}"
