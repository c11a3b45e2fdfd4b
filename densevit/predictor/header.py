"""What a checkpoint says about itself, checked before a model is built from it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from inspect import signature
from math import inf
from pathlib import Path
from typing import Any

from densevit.colors import Color, default_palette
from densevit.options import check_fields
from densevit.pictures.color_coding import parse_color
from densevit.pictures.normalize import MEAN, STD
from densevit.registry import check_known
from densevit.segmentor import create_segmentor

_NUMBERS = dict(mean=(-inf, inf), std=(0, inf))  # between which each lies


@dataclass(frozen=True, kw_only=True)
class Header:
    """The keys of a header that prediction needs; a checkpoint may hold more."""

    model: dict
    classes: list | tuple | None = None
    palette: list | tuple | None = None
    inference: dict | None = None
    base_size: list | tuple | None = None
    normalization: dict | None = None

    @property
    def num_classes(self) -> int:
        return self.model["num_classes"]

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.classes or map(str, range(self.num_classes)))

    @property
    def colors(self) -> list[Color]:
        return [parse_color(color) for color in self.palette or default_palette(self.num_classes)]

    @property
    def mean_and_std(self) -> dict[str, Any]:
        given = {key: value for key, value in (self.normalization or {}).items() if key != "type"}
        return {"mean": MEAN, "std": STD} | given


def parse_header(content: Any, path: Path) -> Header:
    """The header of a checkpoint of pictures, or ValueError with one sentence that names the file."""
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not {"backbone", "decoder", "num_classes"} <= model.keys():
        raise ValueError(
            f"{path} holds weights but not the description of their model; give the weights.safetensors "
            "that densevit's training wrote, or convert the file with tools/convert_weights.py"
        )
    rank, channels = model.get("spatial_dims", 2), model.get("in_channels", 3)
    if (rank, channels) != (2, 3):
        raise ValueError(
            f"{path} is a {rank}D model of {channels} channels, pictures need a 2D one of 3; "
            "use densevit.sliding_window with create_segmentor for other data"
        )
    header = Header(**{field.name: content[field.name] for field in fields(Header) if field.name in content})
    try:
        check_fields(header, owner="the header")
        _check_model(header)
        _check_lists(header)
        _check_normalization(header.mean_and_std)
    except ValueError as error:
        raise ValueError(
            f"{path} describes its model in a way that cannot be used: {error}; train or convert it anew"
        ) from error
    return header


def _check_model(header: Header) -> None:
    known = list(signature(create_segmentor).parameters)
    for key in header.model:
        check_known(key, known, what="create_segmentor takes no")
    if not isinstance(header.num_classes, int) or header.num_classes < 1:
        raise ValueError(f"num_classes must be a whole number from 1, got {header.num_classes!r}")


def _check_lists(header: Header) -> None:
    if not all(isinstance(name, str) for name in header.class_names):
        raise ValueError(f"classes must be a list of names, got {header.class_names!r}")
    for name, given in (("classes", header.class_names), ("colours", header.colors)):
        if len(given) != header.num_classes:
            raise ValueError(f"it has {len(given)} {name}, and its model has {header.num_classes} outputs")


def _check_normalization(given: Mapping[str, Any]) -> None:
    for key, values in given.items():
        low, high = _NUMBERS.get(key, (None, None))
        listed = isinstance(values, list | tuple) and len(values) == 3 and low is not None
        if not listed or not all(isinstance(value, int | float) and low < value < high for value in values):
            raise ValueError(f"normalization takes three numbers as mean and three above 0 as std, got {key}={values}")
