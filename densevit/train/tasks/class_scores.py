"""How well a classifier knows what images show: of all images, and of each class."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from densevit.data.dataset import Sample
from densevit.data.stream import EvalSet
from densevit.data.view import ViewOptions, ViewSet
from densevit.metrics import ConfusionMatrix
from densevit.processes import gather, rank_and_size
from densevit.tables import format_table
from densevit.workers import Workers, drawing

TOP = 5


@dataclass(frozen=True)
class ClassScores:
    """Counts (K, K) of images, rows are the truth; how often the class was among the first five; the sum of losses."""

    counts: Tensor
    among_top: int
    loss: float

    @classmethod
    def of(cls, logits: Tensor, label: Tensor) -> "ClassScores":
        """Of logits (N, K) and classes (N)."""
        counts = ConfusionMatrix(max(logits.shape[1], 2), ignore_index=-1)
        counts.update(logits.argmax(1), label)
        among = (logits.topk(min(TOP, logits.shape[1])).indices == label[:, None]).sum()
        return cls(counts.counts, int(among), float(F.cross_entropy(logits.double(), label, reduction="sum")))

    def __add__(self, other: "ClassScores") -> "ClassScores":
        return ClassScores(self.counts + other.counts, self.among_top + other.among_top, self.loss + other.loss)

    @property
    def means(self) -> dict[str, float]:
        """In percent: images whose class came first (top1) or among the first five (top5, of more than five classes),
        and the mean of the classes' own top1 (mAcc), of classes that have images; the mean cross entropy."""
        total, right = self.counts.sum(1).double(), self.counts.diagonal().double()
        images, there = float(total.sum()), total > 0
        found = dict(top1=100 * float(right.sum()) / images)
        if len(total) > TOP:
            found["top5"] = 100 * self.among_top / images
        return found | dict(mAcc=100 * float((right[there] / total[there]).mean()), cross_entropy=self.loss / images)

    def as_dict(self, classes: Sequence[str]) -> dict[str, Any]:
        """The means, and under "classes" the share of each class's images that were known, None without images."""
        total, right = self.counts.sum(1).tolist(), self.counts.diagonal().tolist()
        of_class = {
            name: dict(Acc=100 * r / t if t else None) for name, r, t in zip(classes, right, total, strict=True)
        }
        return {**self.means, "classes": of_class}

    def text(self) -> str:
        """The means as a table."""
        return format_table([{"images": int(self.counts.sum()), **self.means}])


@torch.inference_mode()
def score_classifier(
    model: nn.Module,
    samples: EvalSet,
    *,
    view: ViewOptions,
    device: torch.device,
    batch_size: int = 16,
    num_workers: int = 0,
    on_image: Callable[[int, int], bool] | None = None,
    on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
) -> ClassScores | None:
    """Score a classifier on images seen as `view` says, with other processes of a group each their share.

    `on_image(done, total)` may return True to stop: the result is then None. `on_sample` gets each sample of this
    process before it, with its predicted and its true class.
    """
    rank, size = rank_and_size()
    order = range(rank, len(samples), size)
    mine, done = [], 0
    was_training = model.training
    model.eval()
    try:
        with drawing(view_loader(samples, view, order, batch_size=batch_size, num_workers=num_workers)) as batches:
            for batch in batches:
                label = torch.stack([sample.label for sample in batch])
                logits = model(torch.stack([sample.image for sample in batch]).to(device)).float().cpu()
                mine.append(ClassScores.of(logits, label))
                for sample, found in zip(batch, logits.argmax(1), strict=True):
                    if on_sample is not None:
                        on_sample(sample, dict(pred_label=found, gt_label=sample.label))
                    done += 1
                    if on_image is not None and on_image(done, len(order)):
                        return None
    finally:
        model.train(was_training)
    first, *others = (scores for each in gather(mine) for scores in each)
    return sum(others, first)


def view_loader(
    samples: EvalSet, view: ViewOptions, order: Sequence[int], *, batch_size: int, num_workers: int
) -> DataLoader:
    """Lists of samples as the network sees them, in that order."""
    return DataLoader(
        ViewSet(samples, view, order),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=list,
        worker_init_fn=Workers(num_workers),
    )
