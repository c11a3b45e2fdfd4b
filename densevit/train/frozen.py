"""Frozen features of a config scored in two ways: by nearest neighbours, and by a linear layer."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from densevit.backbones.base import Backbone
from densevit.data.stream import EvalSet
from densevit.train.data import open_dataset, open_samples
from densevit.train.dense_probe import known_patches, score_patches
from densevit.train.probe import fit_linear, frozen_features, neighbour_logits
from densevit.train.schema import RunConfig
from densevit.train.tasks.class_scores import ClassScores
from densevit.train.tasks.classify import open_class_dataset
from densevit.train.tasks.segment import create_model

Means = dict[str, dict[str, float]]  # by the way of scoring


def backbone_of(config: RunConfig, *, trained: bool) -> Backbone:
    """The backbone of a config, with its weights, or `trained` for one whose weights come later."""
    if config.task == "classify":
        return config.model.create(trained=trained).backbone
    if config.task == "segment":
        backbone = create_model(config.model, trained=trained).backbone
        if not isinstance(backbone, Backbone):
            raise ValueError(f"model.backbone {config.model.backbone!r} is a whole network, which has no features")
        return backbone
    raise ValueError(f"features are scored on a config with task='classify' or 'segment', got {config.task!r}")


def probe(
    config: RunConfig,
    backbone: Backbone,
    *,
    device: torch.device,
    k: int = 20,
    size: Sequence[int] | None = None,
    on_image: Callable[[str], Callable[[int, int], None]] = lambda section: lambda done, total: None,
) -> Means:
    """Means in percent of `val_data`, whose classes are told by those of `train_data`.

    Of classification by image; of segmentation by patch, as label maps: images are seen whole, or resized to `size`
    (else to inference.base_size). `on_image(section)` is called with how many images are done.
    """
    of_all = dict(num_classes=config.model.num_classes)
    kinds = (f"{k} neighbours", "linear")
    if config.task == "classify":
        found = {}
        for section in ("train_data", "val_data"):
            options = dict(view=config.view, device=device, batch_size=config.val_data.batch_size)
            samples = EvalSet(open_class_dataset(config, section))
            found[section] = frozen_features(backbone, samples, on_image=on_image(section), **options)
        (known, labels), (asked, truth) = found["train_data"], found["val_data"]
        ways = _ways(known, labels, k=k, **of_all)
        return {kind: ClassScores.of(way(asked), truth).means for kind, way in zip(kinds, ways, strict=True)}
    options = dict(device=device, size=size or config.inference.base_size)
    samples = EvalSet(open_dataset(config, "train_data"))
    known, labels = known_patches(backbone, samples, on_image=on_image("train_data"), **options)
    asked, ways = open_samples(config, "val_data"), _ways(known, labels, k=k, **of_all)
    scores = score_patches(backbone, asked, ways, on_image=on_image("val_data"), **options)
    names = ("mIoU", "mDice", "aAcc")
    return {
        kind: {name: 100 * float(getattr(each, name)) for name in names}
        for kind, each in zip(kinds, scores, strict=True)
    }


def _ways(known: torch.Tensor, labels: torch.Tensor, *, num_classes: int, k: int) -> tuple:
    """Features -> logits, by neighbours and by a linear layer."""
    return (
        partial(neighbour_logits, known, labels, num_classes=num_classes, k=k),
        fit_linear(known, labels, num_classes=num_classes),
    )
