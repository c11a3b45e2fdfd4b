"""What a run's weights files say about themselves, so that prediction needs no other file."""

from densevit.checkpoint import Header
from densevit.data import Dataset
from densevit.train.config.schema import ConfigFile


def make_header(config: ConfigFile, dataset: Dataset) -> Header:
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
        spacing=None if dataset.spacing is None else tuple(dataset.spacing),
        slices=dataset.slices,
        label_values=None if dataset.label_values is None else tuple(dataset.label_values),
    )
