"""What a weights file says about itself, so that prediction needs no other file."""

from typing import Any

import densevit
from densevit.data import Dataset
from densevit.train.config.schema import ConfigFile


def make_header(config: ConfigFile, dataset: Dataset) -> dict[str, Any]:
    """JSON-ready: model, classes, palette, ignore_index, inference, base_size, normalization, version.

    For volumes also `spacing`, millimetres between voxels (D, H, W), and the files' `label_values` of the classes.
    """
    model = {key: value for key, value in vars(config.model).items() if key != "weights"}
    model["backbone_options"] = {k: v for k, v in model["backbone_options"].items() if k not in ("weights", "frozen")}
    inference = {key: value for key, value in vars(config.inference).items() if key != "base_size"}
    return dict(
        model=model,
        classes=list(dataset.classes),
        palette=[list(color) for color in dataset.palette],
        ignore_index=dataset.ignore_index,
        inference=inference,
        base_size=config.inference.base_size,
        normalization=dataset.normalization,
        version=densevit.__version__,
        **{key: getattr(dataset, key) for key in ("spacing", "label_values") if getattr(dataset, key) is not None},
    )
