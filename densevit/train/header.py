"""What a run's weights files say about themselves, so that prediction needs no other file."""

from typing import Any

from densevit.checkpoint import Header
from densevit.data import SegmentationDataset, VolumeDataset
from densevit.train.config.schema import ConfigFile


def make_header(config: ConfigFile, dataset: SegmentationDataset | VolumeDataset) -> Header:
    """The header of the model, the classes and the inference of a config."""
    model = {key: value for key, value in vars(config.model).items() if key != "weights"}
    model["backbone_options"] = {k: v for k, v in model["backbone_options"].items() if k not in ("weights", "frozen")}
    return Header(
        model=model,
        classes=tuple(dataset.classes),
        palette=tuple(dataset.palette),
        ignore_index=dataset.ignore_index,
        inference=config.inference,
        normalization=dataset.normalization,
        **_of_volumes(dataset),
    )


def _of_volumes(dataset: SegmentationDataset | VolumeDataset) -> dict[str, Any]:
    if not isinstance(dataset, VolumeDataset):
        return {}
    return dict(spacing=tuple(dataset.spacing), label_values=tuple(dataset.label_values.tolist()))
