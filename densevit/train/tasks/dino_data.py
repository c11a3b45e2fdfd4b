"""Images of a config of DINO, with labels or without, and what its checkpoints say of them."""

from collections.abc import Mapping
from typing import Any

from densevit.checkpoint import Header
from densevit.data import Dataset, create_dataset
from densevit.data.class_set import CLASS_DATASETS
from densevit.data.dataset import check_dataset_config
from densevit.train.data import check_fits
from densevit.train.tasks.dino_options import DinoConfig, DinoModelOptions, registry_of


def open_images(given: Mapping[str, Any], model: DinoModelOptions, *, section: str) -> Dataset:
    """A set whose labels are not looked at; ValueError where its images do not fit the model.

    Where it says that there are no label maps, it need not name classes.
    """
    if "labels" in given and given["labels"] in (None, "none") and "classes" not in given:
        given = {**given, "classes": ["image"]}
    dataset = check_dataset_config(given, registry_of(given)).open()
    check_fits(dataset, model, section=section)
    return dataset


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
    imports = config.import_names
    return Header(
        model=config.model.described(),
        classes=("image",),
        normalization=dataset.normalization,
        exif=(getattr(dataset, "exif", None) or "apply") if dataset.spacing is None else None,
        spacing=None if dataset.spacing is None else tuple(dataset.spacing),
        slices=dataset.slices,
        modality=getattr(dataset, "modality", None),
        more=dict(custom_imports=imports) if imports else {},
    )
