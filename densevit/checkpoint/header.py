"""What a checkpoint says about its model: one header for every rank and channel count, checked when it is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

import densevit
from densevit.inference import ClipOptions, InferenceOptions, SliceOptions
from densevit.labels import IGNORE, MOST_VALUE, check_classes, default_palette, label_type, parse_color
from densevit.normalization import MEAN_STD, ZSCORE, as_written_before, in_full
from densevit.options import about, check_fields, check_range, fit, read_options
from densevit.quoting import sentence
from densevit.volumes.modality import modalities_of_normalization
from densevit.volumes.seen_scan import ScanOptions

VERSION = 2  # of the header; 1, which its files do not say, is that of densevit 0.1.0
MOST = 2**16  # classes, and channels
DESCRIBED_BY = (["decoder", "num_classes"], ["class_head", "num_classes"], ["features_only"])  # beside "backbone"


@dataclass(frozen=True, kw_only=True)
class ModelDescription:
    """What `Header.model` may hold: the keywords of `create_segmentor`, which a module made in another way has not.

    A classifier has those of `create_classifier`, its head under `class_head` and `head_options`; a CLIP is one, of as
    many classes as its vectors are wide, with the fields of `TextOptions` as `text`. A backbone alone says
    `features_only`, and counts one class, "image".
    """

    num_classes: int
    backbone: str | None = None
    decoder: str | None = None
    spatial_dims: int | None = None
    in_channels: int | None = None
    weights: Any = None
    backbone_options: dict[str, Any] | None = None
    decoder_options: dict[str, Any] | None = None
    class_head: str | None = None
    head_options: dict[str, Any] | None = None
    text: dict[str, Any] | None = None
    features_only: bool = False

    def __post_init__(self) -> None:
        check_range(self, ["num_classes"], least=1, most=MOST)
        check_range(self, ["in_channels"], least=1, most=MOST)
        check_range(self, ["spatial_dims"], least=2, most=3)


# Types within the sections that are dictionaries, and ranges of the numbers: a new key costs one line here.
INSIDE = {"model": ModelDescription, "training.iteration": int, "training.scores": dict[str, float | dict | None]}
RANGES = {"ignore_index": (-(2**31), 2**31 - 1), "label_values": (0, MOST_VALUE), "spacing": (1e-6, 1e4)}


@dataclass(frozen=True, kw_only=True)
class Header:
    """`model` holds keywords of `create_segmentor`; `classes` and `palette` are names and colours of its outputs.

    `inference` says how images were seen when it was tested, `normalization` (see `create_normalization`) how the
    files' values became its input. `exif` says whether photos were turned upright, as their EXIF orientation asks
    ("apply"), or seen as they are stored ("ignore"); None where that is not known, and then they are turned.
    `label_values` is what stands for each class in label files, None for the class numbers. Of volumes: `spacing`,
    millimetres between voxels (D, H, W), None where scans are seen as they are; `slices`, for a 2D model that sees
    volumes slice by slice; `images`, how the file of each channel was called ("t1.nii.gz", "*_t1.nii.gz"), None where
    names say nothing; `modality`, what each channel was in training (`densevit.volumes.modality`); `scans`, how they
    are turned, cut out and resampled, to a spacing of their own, where that is done in another way than ours. `clips`
    says which frames of a video a 3D model sees together; its images are then videos (T, H, W) and not volumes.
    `training` holds the iteration and the scores, `started_from` what it began with (None: not known), `more` the rest.

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
    clips: ClipOptions | None = None
    scans: ScanOptions | None = None
    images: tuple[str, ...] | None = None
    modality: tuple[str, ...] | None = None
    training: dict[str, Any] | None = None
    started_from: tuple[dict[str, Any], ...] | None = None
    version: str = densevit.__version__
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, owner="a header")
        for key, kind in INSIDE.items():
            name, _, part = key.partition(".")
            section = getattr(self, name) or {}
            if not part or part in section:
                fit(section[part] if part else section, kind, where=key)
        for key, (least, most) in RANGES.items():
            check_range(self, [key], least=least, most=most)
        classes = tuple(map(str, range(self.num_classes))) if self.classes is None else check_classes(self.classes)
        palette = default_palette(self.num_classes) if self.palette is None else self.palette
        # RGB pictures of published weights, and scans: what files that say nothing were made for.
        usual = MEAN_STD if self.in_channels == 3 and (self.clips or self.image_dims == 2) else ZSCORE
        with about("normalization"):
            normalization = in_full({"type": usual["type"], **(self.normalization or usual)})
        if self.slices is not None and self.in_channels % self.slices.count:
            count = self.slices.count
            raise ValueError(f"the model takes {self.in_channels} channels, which are not those of {count} slices")
        if self.clips is not None and (self.image_dims, self.slices, self.spacing) != (3, None, None):
            raise ValueError("clips are of videos, which a model with spatial_dims=3 sees, without slices and spacing")
        if self.scans is not None and not (self.is_of_volumes and self.spacing is None):
            raise ValueError("scans are volumes, and hold the spacing at which these are seen; leave out spacing")
        masked = (self.scans and self.scans.masked) or None
        numbers = normalization.get("channels") or normalization.get("mean")
        of_channels = {"modality": self.modality, "normalization": numbers, "scans.masked": masked}
        of_classes = dict(classes=classes, palette=palette, label_values=self.label_values)
        for size, what, lists in (
            (self.num_classes, "outputs of the model", of_classes),
            (self.image_dims, "axes of its images", dict(spacing=self.spacing)),
            (self.image_channels, "channels of its images", of_channels),
        ):
            for name, given in lists.items():
                if isinstance(given, list | tuple) and len(given) != size:
                    raise ValueError(f"{name} has {len(given)} entries, for {size} {what}")
        if self.label_values is not None and len(set(self.label_values)) < self.num_classes:
            raise ValueError(f"label_values must hold another value for each class, got {self.label_values}")
        with about("inference"):
            self.inference.on_axes(self.spatial_dims)
        with about("palette"):
            palette = tuple(parse_color(color) for color in palette)
        for name, value in (("classes", classes), ("palette", palette), ("normalization", normalization)):
            object.__setattr__(self, name, value)

    @property
    def num_classes(self) -> int:
        return self.model["num_classes"]

    @property
    def is_of_classifier(self) -> bool:
        """Whether the model says what an image shows, and not where."""
        return "class_head" in self.model

    @property
    def is_of_clip(self) -> bool:
        """Whether the model is a CLIP, which knows no classes until they are named."""
        return "text" in self.model

    @property
    def is_of_backbone(self) -> bool:
        """Whether the model is a backbone alone, which says nothing of classes."""
        return "features_only" in self.model

    @property
    def spatial_dims(self) -> int:
        """Axes of what the model sees at once."""
        return self.model.get("spatial_dims") or 2

    @property
    def image_dims(self) -> int:
        """Axes of the images that are predicted: one more than the model's where it sees slices."""
        return self.spatial_dims + (self.slices is not None)

    @property
    def is_of_volumes(self) -> bool:
        """Whether the images that are predicted are scans, and not pictures or videos."""
        return self.image_dims == 3 and self.clips is None

    @property
    def in_channels(self) -> int:
        """Channels that the model takes."""
        return self.model.get("in_channels") or 3

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
        if self.label_values is None:
            return np.arange(self.num_classes, dtype=label_type(self.num_classes))
        return np.asarray(self.label_values, dtype=np.min_scalar_type(max(self.label_values)))

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
        if not isinstance(model, Mapping) or not any(model.keys() >= {"backbone", *keys} for keys in DESCRIBED_BY):
            raise ValueError(
                f"{path} holds weights but not the description of their model; give the weights.safetensors "
                "that densevit's training wrote, or convert the file with tools/convert_weights.py"
            )
        version = content.get("header_version", 1)
        if type(version) is not int or version < 1:
            raise ValueError(f"{path} is damaged: header_version must be a whole number from 1, got {version!r}")
        if version > VERSION:
            raise ValueError(f"{path} was written by densevit {content.get('version')}, a newer one; install that")
        content = _modern(content)
        known = {each.name for each in fields(cls)} - {"more"}
        more = {key: value for key, value in content.items() if key not in known and key != "header_version"}
        given = {key: value for key, value in content.items() if key in known and value is not None}
        try:
            return read_options(cls, {**given, "more": more})
        except ValueError as error:
            why = f"describes its model in a way that cannot be used: {sentence(str(error))}"
            raise ValueError(f"{path} {why}; train or convert it anew") from error


def _modern(content: Mapping[str, Any]) -> dict[str, Any]:
    """A header as of today: that of 0.1.0 held `base_size` beside `inference`, and means without their type.

    Files that do not say how images were normalised are of RGB, or of a z-score that clips.
    """
    content, model = dict(content), content["model"]
    box = content.pop("base_size", None)
    if box is not None and isinstance(content.get("inference"), Mapping | None):
        content["inference"] = {"base_size": box, **(content.get("inference") or {})}
    normalization = content.get("normalization")
    of_scans = model.get("spatial_dims") == 3 or content.get("slices") is not None
    if normalization is None and (of_scans or model.get("in_channels") not in (None, 3)):
        normalization = dict(type="zscore")
    if isinstance(normalization, Mapping):
        of_means = "type" not in normalization and {"mean", "std"} & normalization.keys()
        content["normalization"] = as_written_before({**({"type": "mean_std"} if of_means else {}), **normalization})
    return content
