"""What a MONAI bundle is made of - a run, what its user says of it - and its metadata.json.

That is as https://docs.monai.io/en/stable/mb_specification.html asks for it.
"""

from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import densevit
from densevit.checkpoint import Header, build_model, open_checkpoint

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
FLOORS = {"monai": "1.6.1", "nibabel": "5.2", "pytorch-ignite": "0.5.0"}  # stated where a package is not installed here
NOT_STATED = "not stated"


@dataclass(frozen=True)
class Source:
    """A trained 3D model, on the CPU and in eval mode, with its header; `imports` are modules that it needs."""

    path: Path
    model: nn.Module
    header: Header
    imports: tuple[str, ...] = ()

    @property
    def inference(self) -> dict[str, Any]:
        """All options of inference, with one number per axis: mode, roi_size, ..., and the divisor that is used."""
        header, rank = self.header, self.model.spatial_dims
        options = header.inference.for_classes(header.classes, spatial_dims=rank, slices=header.slices)
        divisor = self.model.divisor if options.divisor is None else options.divisor
        plain = asdict(replace(options, divisor=divisor).on_axes(rank))
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()}


def open_run(run: str | Path) -> Source:
    """The model of a run folder (its best weights, else its last), or of a weights file or the folder that holds one.

    Raises FileNotFoundError where there are no weights, ValueError for a file that is no checkpoint of volumes.
    """
    opened = open_checkpoint(run)
    if not opened.header.is_of_volumes:
        raise ValueError(f"{opened.path} describes no 3D model; give the weights.safetensors of a run on volumes")
    if opened.header.scans is not None:
        raise ValueError(
            f"{opened.path} sees scans turned, cut out and resampled as another program did, which a bundle does not "
            "hold; predict with it by `densevit predict`"
        )
    return Source(opened.path, build_model(opened), opened.header)


@dataclass(frozen=True, kw_only=True)
class About:
    """What only the user knows: names and texts for the bundle's metadata, README and LICENSE.

    `license` is the text of the licence of the weights, `data_license` that of the data they were trained on.
    """

    name: str | None = None
    description: str | None = None
    authors: str | None = None
    copyright: str | None = None
    version: str = "0.1.0"
    license: str | None = None
    data_license: str | None = None


def make_metadata(source: Source, about: About) -> dict[str, Any]:
    """All keys that the schema requires, JSON-ready."""
    return dict(
        schema=SCHEMA,
        version=about.version,
        changelog={about.version: "exported by densevit"},
        monai_version=installed("monai"),
        pytorch_version=torch.__version__.split("+")[0],
        numpy_version=np.__version__,
        required_packages_version={
            "nibabel": installed("nibabel"),
            "pytorch-ignite": installed("pytorch-ignite"),
            "densevit": densevit.__version__,
        },
        name=bundle_name(source, about),
        task=_task(source),
        description=about.description or described(source),
        authors=about.authors or NOT_STATED,
        copyright=about.copyright or NOT_STATED,
        data_type="nifti, nrrd, metaimage or dicom",
        pred_classes=", ".join(f"{value}: {name}" for name, value in class_values(source)),
        eval_metrics=scores_of(source.header),
        network_data_format=dict(inputs=dict(image=_input(source)), outputs=dict(pred=_output(source))),
    )


def described(source: Source) -> str:
    """A sentence on what the model does."""
    return f"{_task(source)}, by {model_name(source)} of densevit."


def bundle_name(source: Source, about: About) -> str:
    """The given name, or one made of the model's."""
    return about.name or f"{model_name(source).replace(' + ', '_').replace('.', '_').lower()}_segmentation"


def model_name(source: Source) -> str:
    """`swin_tiny + unetr`, `monai.SegResNet`."""
    model = source.header.model
    return " + ".join(str(model[key]) for key in ("backbone", "decoder") if model[key] is not None)


def class_values(source: Source) -> list[tuple[str, int]]:
    """Names of the classes and their values in masks."""
    return list(zip(source.header.classes, source.header.values.tolist(), strict=True))


def scores_of(header: Header) -> dict[str, float]:
    """Means of the validation at which the weights were saved, in per cent; empty where the header has none."""
    scores = (header.training or {}).get("scores") or {}
    return {key: value for key, value in scores.items() if isinstance(value, int | float)}


def installed(package: str) -> str:
    """The version that is installed, or the lowest that is known to work."""
    try:
        return version(package)
    except PackageNotFoundError:
        return FLOORS[package]


def spatial_shape(source: Source) -> list[int | str]:
    """The size of windows; for a network that sees scans whole, what their size is a multiple of ("32*n")."""
    inference = source.inference
    if inference["mode"] == "whole":
        return [f"{d}*n" if d > 1 else "*" for d in inference["divisor"]]
    return list(inference["roi_size"])


def _input(source: Source) -> dict[str, Any]:
    channels = source.header.in_channels
    kinds = dict.fromkeys(kind for kind in source.header.modalities if kind)
    hounsfield = list(kinds) == ["CT"]
    return dict(
        type="image",
        format="hounsfield" if hounsfield else "magnitude",
        modality=", ".join(kinds) or "n/a",
        num_channels=channels,
        spatial_shape=spatial_shape(source),
        dtype="float32",
        value_range=[0, 1] if source.header.normalization["type"] == "window" else [],
        is_patch_data=source.inference["mode"] != "whole",
        channel_def={str(i): "image" if channels == 1 else f"image {i}" for i in range(channels)},
    )


def _output(source: Source) -> dict[str, Any]:
    return dict(
        type="image",
        format="segmentation",
        num_channels=source.header.num_classes,
        spatial_shape=spatial_shape(source),
        dtype="float32",
        value_range=[],
        is_patch_data=source.inference["mode"] != "whole",
        channel_def={str(i): name for i, name in enumerate(source.header.classes)},
    )


def _task(source: Source) -> str:
    structures = list(source.header.classes[1:]) or list(source.header.classes)
    return f"Segmentation of {_listed(structures)} in 3D scans"


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} more structures"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
