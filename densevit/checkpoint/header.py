"""What a checkpoint says about its model: one header for every rank and channel count, checked when it is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from inspect import signature
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np

import densevit
from densevit.colors import default_palette, parse_color
from densevit.inference.options import InferenceOptions
from densevit.inference.slices import SliceOptions
from densevit.labels import IGNORE, label_type
from densevit.normalization import MEAN_STD, ZSCORE, as_written_before, in_full
from densevit.options import read_options
from densevit.registry import check_known
from densevit.segmentor import create_segmentor
from densevit.volumes.modality import modalities_of_normalization

VERSION = 2  # of the header; 1, which its files do not say, is that of densevit 0.1.0
NEEDED = {"backbone", "decoder", "num_classes"}  # of the model's description


@dataclass(frozen=True, kw_only=True)
class Header:
    """`model` holds keywords of `create_segmentor`; `classes` and `palette` are names and colours of its outputs.

    `inference` says how images were seen when it was tested, `normalization` (see `create_normalization`) how the
    files' values became its input. `exif` says whether photos were turned upright, as their EXIF orientation asks
    ("apply"), or seen as they are stored ("ignore"); None where that is not known, and then they are turned.
    `label_values` is what stands for each class in label files, None for the class numbers. Of volumes: `spacing`,
    millimetres between voxels (D, H, W), None where scans are seen as they are; `slices`, for a 2D model that sees
    volumes slice by slice; `images`, how the file of each channel was called ("t1.nii.gz", "*_t1.nii.gz"), None where
    names say nothing; `modality`, what each channel was in training (`densevit.volumes.modality`). `training`
    holds the iteration and the scores of the weights, `more` what else was said.

    Raises ValueError, in one sentence, for what does not fit together.
    """

    model: dict[str, Any]
    classes: tuple[str, ...] | None = None
    palette: tuple[Any, ...] | None = None
    ignore_index: int = IGNORE
    inference: InferenceOptions = field(default_factory=InferenceOptions)
    normalization: dict[str, Any] | None = None
    exif: Literal["apply", "ignore"] | None = None
    spacing: tuple[float, ...] | None = None
    label_values: tuple[int, ...] | None = None
    slices: SliceOptions | None = None
    images: tuple[str, ...] | None = None
    modality: tuple[str, ...] | None = None
    training: dict[str, Any] | None = None
    version: str = densevit.__version__
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_model(self.model)
        classes = self.classes or tuple(map(str, range(self.num_classes)))
        palette = tuple(parse_color(color) for color in self.palette or default_palette(self.num_classes))
        for name, given in (("classes", classes), ("colours", palette), ("label values", self.label_values)):
            if given is not None and len(given) != self.num_classes:
                raise ValueError(f"it has {len(given)} {name}, and its model has {self.num_classes} outputs")
        if self.label_values is not None and min(self.label_values) < 0:
            raise ValueError(f"label_values must not be negative, got {self.label_values}")
        if self.spacing is not None and not all(isfinite(s) and s > 0 for s in self.spacing):
            raise ValueError(f"spacing must be positive millimetres, got {self.spacing}")
        if self.spacing is not None and len(self.spacing) != self.image_dims:
            raise ValueError(f"spacing must be {self.image_dims} positive millimetres, got {self.spacing}")
        if self.in_channels % (1 if self.slices is None else self.slices.count):
            raise ValueError(
                f"the model takes {self.in_channels} channels, which are not those of {self.slices.count} slices"
            )
        # RGB pictures of published weights, and scans: what files that say nothing were made for.
        usual = MEAN_STD if (self.image_dims, self.in_channels) == (2, 3) else ZSCORE
        normalization = in_full(
            {"type": usual["type"], **(usual if self.normalization is None else self.normalization)}
        )
        if self.modality is not None and len(self.modality) != self.image_channels:
            raise ValueError(f"it has {len(self.modality)} modalities, and its images {self.image_channels} channels")
        self.inference.on_axes(self.spatial_dims)
        for name, value in (("classes", classes), ("palette", palette), ("normalization", normalization)):
            object.__setattr__(self, name, value)

    @property
    def num_classes(self) -> int:
        return self.model["num_classes"]

    @property
    def spatial_dims(self) -> int:
        """Axes of what the model sees at once."""
        return self.model.get("spatial_dims", 2)

    @property
    def image_dims(self) -> int:
        """Axes of the images that are predicted: one more than the model's where it sees slices."""
        return self.spatial_dims + (self.slices is not None)

    @property
    def is_of_volumes(self) -> bool:
        """Whether the images that are predicted are scans, and not pictures."""
        return self.image_dims == 3

    @property
    def in_channels(self) -> int:
        """Channels that the model takes."""
        return self.model.get("in_channels", 3)

    @property
    def image_channels(self) -> int:
        """Channels of the images that are predicted: fewer than the model's where it sees several slices together."""
        return self.in_channels // (1 if self.slices is None else self.slices.count)

    @property
    def modalities(self) -> tuple[str, ...]:
        """What each channel of a scan must be, from training or else from how it is normalised; "" for anything."""
        said = self.modality or ("",) * self.image_channels
        if not self.is_of_volumes:
            return said
        normalised = modalities_of_normalization(self.normalization, self.image_channels)
        return tuple(one or other for one, other in zip(said, normalised, strict=True))

    @cached_property
    def values(self) -> np.ndarray:
        """What stands for each class in label files (K,), in the smallest type that holds them."""
        values = np.asarray(range(self.num_classes) if self.label_values is None else self.label_values)
        return values.astype(
            label_type(self.num_classes) if self.label_values is None else np.min_scalar_type(values.max())
        )

    def as_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        said = {key: value for key, value in asdict(self).items() if value is not None and key != "more"}
        return {"header_version": VERSION, **said, **self.more}

    @classmethod
    def of_model(cls, model: Any, **more: Any) -> "Header":
        """The header of a `Segmentor` that was built here: its rank and channels are the model's."""
        described = {name: getattr(model, name) for name in ("num_classes", "spatial_dims", "in_channels")}
        return read_options(cls, {"model": described, **more})

    @classmethod
    def read(cls, content: Any, path: Path) -> "Header":
        """The header of a file, of this version or an older one; ValueError with one sentence that names the file."""
        model = content.get("model") if isinstance(content, Mapping) else None
        if not isinstance(model, Mapping) or not model.keys() >= NEEDED:
            raise ValueError(
                f"{path} holds weights but not the description of their model; give the weights.safetensors "
                "that densevit's training wrote, or convert the file with tools/convert_weights.py"
            )
        if content.get("header_version", 1) not in range(1, VERSION + 1):
            raise ValueError(
                f"{path} was written by densevit {content.get('version')}, a newer one than this; install that"
            )
        content = _modern(content)
        known = {each.name for each in fields(cls)} - {"more"}
        more = {key: value for key, value in content.items() if key not in known and key != "header_version"}
        given = {key: value for key, value in content.items() if key in known and value is not None}
        try:
            return read_options(cls, {**given, "more": more})
        except ValueError as error:
            raise ValueError(
                f"{path} describes its model in a way that cannot be used: {error}; train or convert it anew"
            ) from error


def _modern(content: Mapping[str, Any]) -> dict[str, Any]:
    """A header as of today: that of 0.1.0 held `base_size` beside `inference`, and means without their type."""
    content = dict(content)
    box = content.pop("base_size", None)
    if box is not None:
        content["inference"] = {"base_size": box, **(content.get("inference") or {})}
    normalization = content.get("normalization")
    if isinstance(normalization, Mapping) and "type" not in normalization and {"mean", "std"} & normalization.keys():
        content["normalization"] = {"type": "mean_std", **normalization}
    if isinstance(content.get("normalization"), Mapping):
        content["normalization"] = as_written_before(content["normalization"])
    elif content.get("normalization") is None and _is_not_rgb(content):
        content["normalization"] = as_written_before(dict(type="zscore"))
    return content


def _is_not_rgb(content: Mapping[str, Any]) -> bool:
    """Whether the images were normalised by their own mean and deviation where the file does not say how."""
    model = content["model"]
    of_scans = model.get("spatial_dims", 2) == 3 or content.get("slices") is not None
    return of_scans or model.get("in_channels", 3) != 3


def _check_model(model: Mapping[str, Any]) -> None:
    known = list(signature(create_segmentor).parameters)
    for key in model:
        check_known(key, known, what="create_segmentor takes no")
    if not isinstance(model["num_classes"], int) or model["num_classes"] < 1:
        raise ValueError(f"num_classes must be a whole number from 1, got {model['num_classes']!r}")
