"""Classification: what a whole picture or volume shows, with the head of the backbone's paper or another."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.class_heads import DistilledHead
from densevit.checkpoint import Header, find_weights
from densevit.classifier import Classifier
from densevit.data import Sample
from densevit.data.class_set import CLASS_DATASETS, ClassDataset
from densevit.data.stream import EvalSet, TrainStream
from densevit.processes import process_group, rank_and_size, share_buffers
from densevit.progress import Bars
from densevit.sides import read_sides
from densevit.train.as_trained import check_as_trained
from densevit.train.data import open_fitting, prepared_as, warn_of_shared_cases
from densevit.train.distillation.classes import distillation_loss
from densevit.train.distillation.dense import mean_log_probability
from densevit.train.distillation.options import ClassDistillationOptions
from densevit.train.distillation.teachers import Teachers
from densevit.train.mixing import mix, shares_of_classes
from densevit.train.task import NetworkTask, Validation, load_first, register_task
from densevit.train.tasks.class_scores import ClassScores, score_classifier
from densevit.train.tasks.classify_options import ClassifyConfig
from densevit.weights import load_weights, read_config


class ClassifyModel(nn.Module):
    """A classifier and its loss: image (B, C, *S), shares of classes (B, K) -> named losses.

    With `taught`, log p (B, K) of teachers, a distilled head learns the shares by its first token and that by its
    second; another head learns both.
    """

    def __init__(self, classifier: Classifier, loss: str, distillation: ClassDistillationOptions | None = None):
        super().__init__()
        self.classifier, self.loss, self.distillation = classifier, loss, distillation

    def forward(self, image: Tensor, shares: Tensor, taught: Tensor | None = None) -> dict[str, Tensor]:
        head = self.classifier.class_head
        if taught is None or not isinstance(head, DistilledHead):
            logits = learner = self.classifier(image).float()
        else:
            logits, learner = (each.float() for each in head.pair(self.classifier.forward_features(image)))
        with torch.autocast(image.device.type, enabled=False):
            losses = self._on_labels(logits, shares)
            if taught is None:
                return losses
            options = self.distillation
            losses = {name: (1 - options.alpha) * loss for name, loss in losses.items()}
            return losses | dict(loss_distil=options.alpha * distillation_loss(learner, taught, options))

    def _on_labels(self, logits: Tensor, shares: Tensor) -> dict[str, Tensor]:
        if self.loss == "binary":
            return dict(loss_binary=F.binary_cross_entropy_with_logits(logits, shares))
        return dict(loss_cross_entropy=F.cross_entropy(logits, shares))


@register_task("classify", config=ClassifyConfig)
class ClassifyTask(NetworkTask):
    """The task of a config of classification."""

    part = "classifier"

    def __init__(self, config: ClassifyConfig, device: torch.device):
        classifier = config.model.create()
        if config.load_from is not None:
            load_first(classifier, config.load_from, backbone=config.model.backbone)
        classifier.backbone.set_checkpointing(config.train_cfg.checkpointing)
        self.dataset = open_class_dataset(config, "train_data")
        section = config.train_data
        sides = read_sides(self.dataset.classes, config.sides)
        made = section.augment.without_classes().create(fill=self.dataset.fill, sides=sides)
        self.stream = TrainStream(self.dataset, made, seed=config.seed, repeats=section.repeats)
        self.samples = None
        if config.val_data is not None:
            self.samples = EvalSet(open_class_dataset(config, "val_data", like=self.dataset))
            warn_of_shared_cases(self.dataset, self.samples.dataset)
        self.header = make_class_header(config, self.dataset)
        self.teachers = None
        if config.distillation is not None:
            taught_by = config.distillation
            self.teachers = Teachers(taught_by.teachers, self.header, device=device, cache=taught_by.cache)
        model = ClassifyModel(classifier, config.loss, config.distillation)
        if config.train_cfg.compile:
            (classifier if self.teachers is None else model).compile()
        super().__init__(config, device, model=model, num_images=len(self.dataset))

    def step(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Losses of dict(image (B, C, *S), label (B), meta), mixed as the config says."""
        config = self.config
        image, label = (batch[key].to(self.device, non_blocking=True) for key in ("image", "label"))
        shares = shares_of_classes(label, config.model.num_classes, smoothing=config.label_smoothing)
        mixed, shares = mix(image, shares, config.mixing)
        if self.teachers is None:
            return self.network(mixed, shares)
        logits = [seen.logits for seen in self.teachers(mixed)]
        return self.network(mixed, shares, mean_log_probability(logits, temperature=config.distillation.temperature))

    def validate(
        self,
        *,
        on_image: Callable[[int, int], bool] | None = None,
        on_sample: Callable[[Sample, dict[str, Tensor]], None] | None = None,
    ) -> Validation | None:
        share_buffers(self.final_model)
        scores = score_classifier(
            self.final_model,
            self.samples,
            view=self.config.view,
            device=self.device,
            batch_size=self.config.val_data.batch_size,
            num_workers=self.config.val_data.num_workers,
            on_image=on_image,
            on_sample=on_sample,
        )
        return None if scores is None else Validation(scores.as_dict(self.dataset.classes), scores.text())

    def __str__(self) -> str:
        count = sum(p.numel() for p in self.model.classifier.parameters())
        val = "none" if self.samples is None else len(self.samples)
        return (
            f"{self.config.model.backbone} as a classifier, {count / 1e6:.2f} M parameters; "
            f"{len(self.dataset)} training images, {val} for validation"
        )


def open_class_dataset(config: ClassifyConfig, section: str, *, like: ClassDataset | None = None) -> ClassDataset:
    """The set of a section; ValueError where it does not fit the model, or has other classes than `like`."""
    dataset = open_fitting(getattr(config, section).dataset, config.model, registry=CLASS_DATASETS, section=section)
    if like is not None and dataset.classes != like.classes:
        pairs = zip(dataset.classes, like.classes, strict=True)
        here, there = next((a, b) for a, b in pairs if a != b)
        raise ValueError(f"{section} has the class {here} where train_data has {there}; give both the same classes")
    return dataset


def make_class_header(config: ClassifyConfig, dataset: ClassDataset) -> Header:
    """The header of the classifier, its classes and how it sees images."""
    view = dict(size=list(config.view.size), crop_ratio=config.view.crop_ratio)
    return Header(
        model=config.model.described(),
        classes=tuple(dataset.classes),
        palette=tuple(dataset.palette),
        **prepared_as(config, dataset, view=view, loss=config.loss),
    )


def score_class_checkpoint(
    config: ClassifyConfig,
    checkpoint: str | Path,
    *,
    launcher: str = "none",
    device: str | None = None,
    progress: bool = True,
) -> tuple[ClassScores, tuple[str, ...]]:
    """Scores of the weights in `checkpoint`, a file, its folder or a run's, on `test_data`, else on `val_data`.

    They come with the names of the classes. Weights of other projects are read as `load_weights` reads them.
    """
    section = "test_data" if config.test_data is not None else "val_data"
    if getattr(config, section) is None:
        raise ValueError("the config has no val_data; add one, with its dataset")
    with process_group(launcher, device) as chosen, Bars(enabled=progress and rank_and_size()[0] == 0) as shown:
        dataset = open_class_dataset(config, section)
        model, weights = config.model.create(trained=True), find_weights(checkpoint)
        load_weights(model, weights)
        content = read_config(weights) if weights.suffix == ".safetensors" else None
        named = (content or {}).get("classes")
        if named is not None and tuple(named) != dataset.classes:
            raise ValueError(f"{weights} was trained with other classes than {section} has; give both the same")
        check_as_trained(weights, make_class_header(config, dataset))
        scores = score_classifier(
            model.to(chosen),
            EvalSet(dataset),
            view=config.view,
            device=chosen,
            batch_size=getattr(config, section).batch_size,
            num_workers=getattr(config, section).num_workers,
            on_image=partial(shown.show, "test"),
        )
    return scores, dataset.classes
