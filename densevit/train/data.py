"""Data sets of a config to loaders: the endless stream of training draws, and the images to validate on."""

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from densevit.data import Dataset, create_dataset
from densevit.data.class_set import registry_of
from densevit.data.dataset import check_dataset_config
from densevit.data.stream import EvalSet, TrainStream, collate, draws
from densevit.data.views import without_labels
from densevit.processes import rank_and_size
from densevit.registry import Registry
from densevit.sides import Sides, read_sides
from densevit.train.schema import ConfigFile, RunConfig
from densevit.workers import Workers

logger = logging.getLogger("densevit")


def open_dataset(config: ConfigFile, section: str) -> Dataset:
    """The data set of `train_data`, `val_data` or `test_data`; ValueError if it is absent or does not fit the model."""
    options = getattr(config, section)
    if options is None:
        raise ValueError(f"the config has no {section}; add one such as val_data, with its dataset")
    dataset = create_dataset(options.dataset)
    check_fits(dataset, config.model, section=section)
    return dataset


def check_fits(dataset: Dataset, model: Any, *, section: str, classes: bool = True) -> None:
    """Raise ValueError where the data set of a section has other axes or channels than the model, or other `classes`.

    A CLIP and a backbone alone have none.
    """
    of_classes = {"num_classes": "classes"} if classes and hasattr(model, "num_classes") else {}
    for key, what in {**of_classes, "spatial_dims": "spatial dimensions", "in_channels": "channels"}.items():
        wanted, found = getattr(model, key), getattr(dataset, key)
        if found != wanted:
            raise ValueError(f"model.{key} is {wanted} but {section} has {found} {what}; set model.{key}={found}")


def open_fitting(
    given: Mapping[str, Any], model: Any, *, registry: Registry, section: str, classes: bool = True
) -> Dataset:
    """The set of a registry that is described, its labels unchecked; ValueError where it does not fit the model."""
    dataset = check_dataset_config(given, registry).open()
    check_fits(dataset, model, section=section, classes=classes)
    return dataset


def open_images(given: Mapping[str, Any], model: Any, *, section: str) -> Dataset:
    """A set whose labels are not read; ValueError where its images do not fit the model.

    Where it says that there are no label maps, it need not name classes.
    """
    if "labels" in given and given["labels"] in (None, "none") and "classes" not in given:
        given = {**given, "classes": ["image"]}
    return without_labels(open_fitting(given, model, registry=registry_of(given), section=section, classes=False))


def prepared_as(config: RunConfig, dataset: Dataset, **more: Any) -> dict[str, Any]:
    """What a header says of how images became numbers, as its keywords; `more` are texts of the task itself."""
    imports = config.import_names
    of_pictures = (getattr(dataset, "exif", None) or "apply") if dataset.spacing is None else None
    return dict(
        normalization=dataset.normalization,
        exif=of_pictures,
        spacing=None if dataset.spacing is None else tuple(dataset.spacing),
        slices=dataset.slices,
        modality=getattr(dataset, "modality", None),
        more={**more, **(dict(custom_imports=imports) if imports else {})},
    )


def open_samples(config: ConfigFile, section: str) -> EvalSet:
    """Normalised images of `val_data` or `test_data`, with labels, at their own size."""
    dataset = open_dataset(config, section)
    if not dataset.has_labels:
        raise ValueError(f"{section} has images without labels, which cannot be scored; use densevit predict for them")
    return EvalSet(dataset)


def named_sides(config: ConfigFile, dataset: Dataset) -> tuple[tuple[str, str], ...] | None:
    """What prediction needs to know of left and right: pairs of class names; None where names say nothing for sure."""
    sides, names = read_sides(dataset.classes, config.inference.sides), dataset.classes
    if sides.alone or sides.unclear or not (sides.pairs or sides.declared):
        return None
    return tuple((names[left], names[right]) for left, right in sides.pairs)


def open_stream(config: ConfigFile) -> TrainStream:
    """The endless, augmented samples of `train_data`; where class names may mean left and right it says what is known.

    ValueError for views at validation in which nobody knows what a class becomes.
    """
    section, dataset = config.train_data, open_dataset(config, "train_data")
    config.inference.for_classes(dataset.classes, spatial_dims=dataset.spatial_dims, slices=dataset.slices)
    without_sides = dataset.slices is not None and not dataset.slices.show_sides
    sides = Sides(declared=True) if without_sides else read_sides(dataset.classes, config.inference.sides)
    remark = sides.remark()
    if remark and (section.augment.mirrors or config.inference.flips):
        logger.info("%s", remark)
    augment = section.augment.create(fill=dataset.fill, sides=sides)
    return TrainStream(dataset, augment, seed=config.seed, rare_class_sampling=section.rare_class_sampling)


def train_loader(
    stream: TorchDataset,
    config: RunConfig,
    *,
    first_draw: int,
    device: torch.device,
    join: Callable[[list], dict[str, Any]] = collate,
) -> DataLoader:
    """Endless batches from draw number `first_draw` on; this process takes every n-th draw of n processes.

    `stream` is addressed by draw number, and `join` makes a batch of what it gives.
    """
    return DataLoader(
        stream,
        batch_size=config.train_data.batch_size,
        sampler=draws(first_draw, *rank_and_size()),
        num_workers=config.train_data.num_workers,
        collate_fn=join,
        pin_memory=device.type == "cuda",
        generator=torch.Generator().manual_seed(config.seed),  # so that the global one is left alone
        worker_init_fn=Workers(config.train_data.num_workers),
    )


def warn_of_shared_cases(train: Dataset, val: Dataset, *, section: str = "train_data") -> None:
    """Say so where validation looks at what was trained on: its scores would then be too good."""
    seen, checked = ({os.path.realpath(name) for name in dataset.names} for dataset in (train, val))
    shared = sorted(seen & checked)
    if shared:
        logger.warning(
            "%d of the %d cases of val_data are in %s too, first %s: scores will be too good; "
            "give both sections the same split keys",
            len(shared),
            len(checked),
            section,
            shared[0],
        )
