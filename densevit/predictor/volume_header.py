"""What a checkpoint of volumes says about itself, checked before a model is built from it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.inference.views import MODES, on_views
from densevit.inference.windows import Windows
from densevit.normalization import ZSCORE, create_normalization
from densevit.registry import check_known

INFERENCE = dict(mode="whole", roi_size=None, stride=None, batch_size=1, flips=(), scales=(1.0,), divisor=None)


@dataclass(frozen=True)
class VolumeHeader:
    """The parts of a header that prediction needs; `values` are the files' label values of the classes (K,)."""

    model: dict[str, Any]
    classes: tuple[str, ...]
    values: np.ndarray
    normalization: dict[str, Any]
    inference: dict[str, Any]
    spacing: tuple[float, ...] | None = None

    @property
    def num_classes(self) -> int:
        return self.model["num_classes"]

    @property
    def in_channels(self) -> int:
        return self.model.get("in_channels", 3)

    def inference_options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the header says about inference, overridden by what is given and not None; ValueError if unfit."""
        return inference_options(self.inference, given)


def inference_options(said: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`INFERENCE`, overridden by what is said, and that by what is given; None says nothing. ValueError if unfit."""
    options = dict(INFERENCE)
    for key, value in (*said.items(), *given.items()):
        check_known(key, INFERENCE, what="inference of volumes has no key")
        if value is not None:
            options[key] = value
    check_known(options["mode"], MODES, what="no mode named")
    if options["mode"] != "whole" and options["roi_size"] is None:
        raise ValueError(f"mode={options['mode']!r} needs the size of its windows; give roi_size, such as 96 96 96")
    if options["mode"] != "whole":
        _check_windows(options["roi_size"], options["stride"])
    Windows(roi_size=1, batch_size=options["batch_size"])  # checks it
    on_views(lambda x: x, scales=options["scales"])  # checks them
    return options


def _check_windows(roi_size: Any, stride: Any) -> None:
    """ValueError for windows by which no scan can be seen; `stride` is half of them where it is None."""
    roi, step = (
        (n,) * 3 if isinstance(n, int) else tuple(n) for n in (roi_size, roi_size if stride is None else stride)
    )
    if len(roi) != 3 or min(roi) < 1:
        raise ValueError(f"roi_size must be three voxel counts of at least 1, got {roi}; give one such as 96 96 96")
    if len(step) != 3 or not all(1 <= s <= r for s, r in zip(step, roi, strict=True)):
        raise ValueError(f"stride must be 1 to roi_size on every axis, got stride {step} for roi_size {roi}; give both")


def is_of_volumes(header: Any) -> bool:
    """Whether a checkpoint's header describes a 3D model."""
    model = header.get("model") if isinstance(header, Mapping) else None
    return isinstance(model, Mapping) and model.get("spatial_dims") == 3


def parse_volume_header(content: Any, path: Path) -> VolumeHeader:
    """The header of a checkpoint of volumes, or ValueError with one sentence that names the file."""
    if not is_of_volumes(content) or not {"backbone", "decoder", "num_classes"} <= content["model"].keys():
        raise ValueError(f"{path} does not describe a 3D model; give the weights.safetensors of a run on volumes")
    model, number = dict(content["model"]), content["model"]["num_classes"]
    classes = tuple(content.get("classes") or map(str, range(number)))
    values = np.asarray(content.get("label_values") or range(number))
    normalization = {"type": "zscore"} | dict(content.get("normalization") or ZSCORE)
    if len(classes) != number or values.shape != (number,) or values.dtype.kind not in "iu" or values.min() < 0:
        raise ValueError(f"{path} has {number} outputs, {len(classes)} classes and label values {values.tolist()}")
    try:
        create_normalization(normalization)
    except ValueError as error:
        raise ValueError(f"{path} normalises in a way that this version does not know: {error}") from error
    spacing = content.get("spacing")
    if spacing is not None and (len(spacing) != 3 or not all(s > 0 for s in spacing)):
        raise ValueError(f"{path} has the spacing {spacing}, and three positive millimetres are expected")
    values = values.astype(np.min_scalar_type(values.max()))
    return VolumeHeader(
        model=model,
        classes=classes,
        values=values,
        normalization=normalization,
        inference=dict(content.get("inference") or {}),
        spacing=None if spacing is None else tuple(spacing),
    )
