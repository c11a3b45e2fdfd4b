"""Scores of semantic segmentation from a confusion matrix, defined as mmsegmentation defines them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

# Column of a table, field of SegmentationScores.
COLUMNS = {
    "IoU": "iou",
    "Acc": "acc",
    "Dice": "dice",
    "Fscore": "fscore",
    "Precision": "precision",
    "Recall": "recall",
}


@dataclass(frozen=True)
class SegmentationScores:
    """Per class (K,) float64 fractions, nan where a score is 0 / 0; the means leave nan out, as mmsegmentation does.

    `iou` and `dice` are nan for a class that neither label nor prediction holds, `acc` (which is `recall`) where the
    label does not hold it, `precision` where the prediction does not. `fscore` is the harmonic mean of precision and
    recall and nan also where both are 0: a class that was always missed lowers mDice but not mFscore.
    `case_dice`, where it was measured, is the mean over cases of each case's own Dice, as is usual for volumes.
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
        return self.iou.nanmean().item()

    @property
    def mAcc(self) -> float:
        return self.acc.nanmean().item()

    @property
    def mDice(self) -> float:
        return self.dice.nanmean().item()

    @property
    def mFscore(self) -> float:
        return self.fscore.nanmean().item()

    @property
    def mPrecision(self) -> float:
        return self.precision.nanmean().item()

    @property
    def mRecall(self) -> float:
        return self.recall.nanmean().item()

    @property
    def mCaseDice(self) -> float:
        """Class 0, the background, is left out."""
        return float("nan") if self.case_dice is None else self.case_dice[1:].nanmean().item()

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
        tables = (format_table(part, style="framed") for part in (rows, [summary]))
        return "per class results:\n\n{}\n\nsummary:\n\n{}".format(*tables)

    def _columns(self) -> dict[str, str]:
        return COLUMNS if self.case_dice is None else {**COLUMNS, "CaseDice": "case_dice"}

    def _means(self) -> dict[str, float]:
        return {"aAcc": self.aAcc, **{f"m{column}": getattr(self, f"m{column}") for column in self._columns()}}

    def _check_names(self, classes: Sequence[str]) -> None:
        if len(classes) != len(self.iou) or len(set(classes)) != len(classes):
            raise ValueError(f"expected {len(self.iou)} different class names, got {list(classes)}")


def scores_from_counts(counts: Tensor) -> SegmentationScores:
    """(K, K) counts, rows are the truth -> scores."""
    counts = counts.double()
    hit, label, prediction = counts.diagonal(), counts.sum(1), counts.sum(0)
    precision, recall = hit / prediction, hit / label
    return SegmentationScores(
        aAcc=(hit.sum() / label.sum()).item(),
        iou=hit / (label + prediction - hit),
        acc=recall,
        dice=2 * hit / (label + prediction),
        fscore=2 * precision * recall / (precision + recall),
        precision=precision,
        recall=recall,
    )


def _percent(value: float) -> float | None:
    return None if value != value else 100 * value


def _shown(percent: float | None) -> str:
    return "nan" if percent is None else f"{percent:.2f}"
