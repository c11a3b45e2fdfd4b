"""Components that the configs of a MONAI bundle share."""

from typing import Any

from densevit.export.source import Source
from densevit.quoting import monai_data

Config = dict[str, Any]
OURS = "densevit.integrations.monai"


def call(target: str, **arguments: Any) -> Config:
    """A component: a class or function by name, and its arguments."""
    return {"_target_": target, **arguments}


def network(source: Source) -> Config:
    """The network that the exported weights fit; modules that register its parts are imported before."""
    model = {key: monai_data(value) for key, value in source.header.model.items() if key != "weights"}
    if source.imports:
        names, folder = list(source.imports), "$@bundle_root + '/scripts'"
        model["_requires_"] = call(f"{OURS}.bundle.load_parts", names=names, folder=folder)
    return dict(
        network_def=call("densevit.create_segmentor", **model),
        network="$@network_def.to(@device)",
    )


def load(keys: list[str]) -> list[Config]:
    """Files to tensors, channels first."""
    return [call(f"{OURS}.reader.LoadImageScand", keys=keys), call("EnsureChannelFirstd", keys=keys)]


def prepare_scan(source: Source) -> Config:
    """The transform that prepares scans for the network."""
    return call(
        f"{OURS}.transforms.PrepareScand",
        keys="image",
        normalization=monai_data(source.header.normalization),
        spacing=source.header.spacing,
        modality=list(source.header.modalities),
    )


def prepare_label(source: Source, *, resample: bool) -> Config:
    """Labels as class numbers."""
    return call(
        f"{OURS}.transforms.PrepareLabeld",
        keys="label",
        label_values=source.header.values.tolist(),
        classes=monai_data(list(source.header.classes)),
        spacing=source.header.spacing,
        resample=resample,
    )


def inferer(source: Source) -> Config:
    """Scans to class numbers on the scans' own grids."""
    return call(f"{OURS}.inferer.ScanInferer", inference=monai_data(source.inference))


def restore(values: str | None) -> Config:
    """Class numbers to values on the files' own axes."""
    return call(f"{OURS}.transforms.RestoreLabeld", keys="pred", label_values=values)


def save(source: Source) -> Config:
    """Masks to NIfTI files."""
    dtype = f"$numpy.{source.header.values.dtype.name}"
    return call(f"{OURS}.bundle.SaveImageMaskd", keys="pred", output_dir="@output_dir", output_dtype=dtype)


def load_weights() -> Config:
    """Weights from models/model.pt."""
    return call("CheckpointLoader", load_path="$@bundle_root + '/models/model.pt'", load_dict={"model": "@network"})
