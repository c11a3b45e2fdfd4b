"""Segmentation with few labels: what the averaged weights see in images without labels is learned from stronger views.

Mean teacher (https://arxiv.org/abs/1703.01780) with labels where it is confident (https://arxiv.org/abs/2001.07685).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from densevit.data.dataset import check_dataset_config
from densevit.data.unlabelled import PairedStream, collate_pairs, unlabelled_stream
from densevit.labels import IGNORE
from densevit.options import check_range
from densevit.train.data import open_images, train_loader, warn_of_shared_cases
from densevit.train.schema import ConfigFile
from densevit.train.strong_view import StrongOptions, cut_and_mix, strengthen
from densevit.train.task import register_task
from densevit.train.tasks.segment import SegmentModel, SegmentTask


@dataclass(frozen=True, kw_only=True)
class UnlabelledDataOptions:
    """The section `unlabelled_data`: images without labels, or whose labels are not looked at.

    They are augmented as `train_data` says; `ratio` of them go with each labelled one.
    """

    dataset: dict[str, Any]
    ratio: int = 1

    def __post_init__(self) -> None:
        check_dataset_config(self.dataset)
        check_range(self, ["ratio"], least=1)


@dataclass(frozen=True, kw_only=True)
class MeanTeacherOptions:
    """The section `mean_teacher`. The teacher is the average of the weights that `train_cfg.ema` asks for.

    threshold: a pixel is learned where the teacher's probability of its class is at least that. weight: of what is
    learned there, reached over the first `ramp_iters` iterations. strong: how the student's view differs.
    """

    threshold: float = 0.9
    weight: float = 1.0
    ramp_iters: int = 0
    strong: StrongOptions = field(default_factory=StrongOptions)

    def __post_init__(self) -> None:
        check_range(self, ["threshold"], least=0, most=1)
        check_range(self, ["weight", "ramp_iters"], least=0)

    def weight_after(self, updates: int) -> float:
        """After so many iterations: weight * exp(-5 (1 - t)^2), t the share of the ramp that is done."""
        done = min(1.0, updates / self.ramp_iters) if self.ramp_iters else 1.0
        return self.weight * math.exp(-5 * (1 - done) ** 2)


@dataclass(frozen=True, kw_only=True)
class MeanTeacherConfig(ConfigFile):
    """A config of segmentation with two more sections."""

    unlabelled_data: UnlabelledDataOptions
    mean_teacher: MeanTeacherOptions = field(default_factory=MeanTeacherOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_cfg.ema is None:
            raise ValueError("train_cfg.ema is None, and the averaged weights are the teacher; set it, such as to 0.99")


class MeanTeacherModel(SegmentModel):
    """The same, which learns from a second pair of images and labels as well, with a weight."""

    def forward(
        self, image: Tensor, label: Tensor, strong: Tensor, taught: Tensor, weight: Tensor
    ) -> dict[str, Tensor]:
        losses = super().forward(image, label)
        more = super().forward(strong, taught)
        return losses | {f"{name}_unlabelled": weight * loss for name, loss in more.items()}


@register_task("mean_teacher", config=MeanTeacherConfig)
class MeanTeacherTask(SegmentTask):
    """Segmentation as any other, but for its batches and its steps."""

    model_type = MeanTeacherModel

    def __init__(self, config: MeanTeacherConfig, device: torch.device):
        super().__init__(config, device)
        images = open_images(config.unlabelled_data.dataset, config.model, section="unlabelled_data")
        if self.samples is not None:
            warn_of_shared_cases(images, self.samples.dataset, section="unlabelled_data")
        self.unlabelled = unlabelled_stream(images, config.train_data.augment, seed=config.seed)

    def open_batches(self, first_draw: int) -> DataLoader:
        pairs = PairedStream(self.stream, self.unlabelled, ratio=self.config.unlabelled_data.ratio)
        return train_loader(pairs, self.config, first_draw=first_draw, device=self.device, join=collate_pairs)

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        options = self.config.mean_teacher
        weak, inside = (batch["unlabelled"][key].to(self.device, non_blocking=True) for key in ("image", "label"))
        taught, share = self._teach(weak, inside != IGNORE)
        strong, taught = cut_and_mix(strengthen(weak, options.strong), taught, options.strong)
        self.observed = dict(sure_share=share)
        weight = share * options.weight_after(self.average.updates)
        return super().step(batch, strong=strong, taught=taught, weight=weight)

    @torch.no_grad()
    def _teach(self, weak: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """The teacher's classes (B, *S), ignored where it is not sure or there is no image, and the share that is left.

        That times the mean over what is left is a mean over all pixels.
        """
        confidence, found = self.average.model(weak).float().softmax(1).max(1)
        sure = (confidence >= self.config.mean_teacher.threshold) & inside
        return found.masked_fill(~sure, IGNORE), sure.sum() / inside.sum().clamp_min(1)

    def __str__(self) -> str:
        return f"{super().__str__()}; {len(self.unlabelled.dataset)} images without labels"
