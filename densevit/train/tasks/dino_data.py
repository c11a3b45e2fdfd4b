"""Labelled images of a config of DINO, and what its checkpoints say of images."""

from collections.abc import Mapping
from typing import Any

from densevit.checkpoint import Header
from densevit.data import Dataset, create_dataset
from densevit.data.class_set import CLASS_DATASETS, registry_of
from densevit.train.data import check_fits, open_images, prepared_as
from densevit.train.tasks.dino_options import DinoConfig, DinoModelOptions


def open_labelled(given: Mapping[str, Any], model: DinoModelOptions, *, section: str) -> Dataset:
    """A set with classes or label maps, which are checked."""
    if registry_of(given) is CLASS_DATASETS:
        return open_images(given, model, section=section)
    dataset = create_dataset(given)
    if not dataset.has_labels:
        raise ValueError(f"{section} has images without labels, by which nothing is scored; leave it out")
    if dataset.slices is not None:
        raise ValueError(
            f"{section} has slices of volumes, and frozen features are scored on whole images; leave it out"
        )
    check_fits(dataset, model, section=section)
    return dataset


def make_backbone_header(config: DinoConfig, dataset: Dataset) -> Header:
    """The header of a backbone: how it sees images, and the one class of those that have none."""
    return Header(model=config.model.described(), classes=("image",), **prepared_as(config, dataset))
