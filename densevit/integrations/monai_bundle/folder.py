"""A MONAI bundle made into one checkpoint of ours, as far as its configs are data.

What a bundle is: https://docs.monai.io/en/stable/mb_specification.html. Entries that are not needed, such as handlers,
are not even read.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from densevit.checkpoint import WEIGHTS, Header, build_model, open_checkpoint, without_weights, write_checkpoint
from densevit.integrations.monai_bundle.config import BundleConfig, Component, read_config
from densevit.integrations.monai_bundle.network import OURS, describe_network, read_state
from densevit.integrations.monai_bundle.prediction import read_inferer, read_postprocessing
from densevit.integrations.monai_bundle.preparation import read_preparation
from densevit.integrations.whole import load_exactly
from densevit.labels import check_classes
from densevit.segmentor import create_segmentor
from densevit.volumes.modality import modality_of_name

logger = logging.getLogger("densevit")
NEEDED = ("network_def", "preprocessing", "inferer")
SAID = ("name", "version", "copyright")  # of the metadata, kept in the header


def import_monai_bundle(folder: str | Path, output: str | Path) -> Path:
    """Write OUTPUT/weights.safetensors of the bundle in a folder: its network, and how it sees scans.

    Nothing of the bundle is run: of Python in its configs ("$...") only arithmetic of numbers and references is read.
    Raises FileNotFoundError for what is not there, and ValueError in one sentence that names the entry for code, for
    networks that are not known by name and for transforms that a checkpoint cannot say.
    """
    folder, output = Path(folder), Path(output)
    config, metadata = read_config(folder, "inference"), read_config(folder, "metadata")
    missing = [name for name in NEEDED if name not in config]
    if missing:
        raise ValueError(
            f"{config.path} has no {missing[0]}, by which bundles are read; add it as MONAI's specification has it"
        )
    network = config.component(config.content["network_def"], where="network_def")
    if network.target == OURS:
        model, header = _read_ours(folder)
    else:
        header = _read_header(config, metadata, network)
        model = create_segmentor(**without_weights(header.model))
        path, state = read_state(folder)
        load_exactly(model.backbone.network, state, path=path, said_by="network_def")
    output.mkdir(parents=True, exist_ok=True)
    write_checkpoint(output / WEIGHTS, model, header)
    return output / WEIGHTS


def _read_ours(folder: Path) -> tuple[Any, Header]:
    """The model of a bundle that densevit exported, whose header lies beside its weights: these may be trained anew."""
    path = folder / "models" / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, which densevit exports with a bundle; export it again")
    opened = open_checkpoint(path)
    model = build_model(opened)
    path, state = read_state(folder)
    load_exactly(model, state, path=path, said_by="network_def")
    return model, opened.header


def _read_header(config: BundleConfig, metadata: BundleConfig, network: Component) -> Header:
    inputs, outputs = (_first_format(metadata, kind) for kind in ("inputs", "outputs"))
    model = describe_network(network, num_classes=_count(outputs))
    channels, num_classes = model["in_channels"], model["num_classes"]
    for said, own, what in ((_count(inputs), channels, "inputs"), (_count(outputs), num_classes, "outputs")):
        if said not in (None, own):
            raise ValueError(
                f"{metadata.path} says {said} channels of its {what}, and the network has {own}; correct one of them"
            )
    before = [*config.components(config.content["preprocessing"], where="preprocessing")]
    scans, normalization = read_preparation(before, channels=channels)
    after = [*config.components(config.content.get("postprocessing", []), where="postprocessing")]
    restored = read_postprocessing(after, spaced=any(scans.spacing))
    modality = (modality_of_name(str(inputs.get("modality", ""))),) * channels
    return Header(
        model=model,
        classes=_classes(outputs, num_classes, metadata.path),
        inference=read_inferer(config.component(config.content["inferer"], where="inferer")),
        normalization=normalization,
        scans=replace(scans, restored=restored),
        modality=modality if any(modality) else None,
        more=dict(monai_bundle={key: str(metadata.content[key]) for key in SAID if key in metadata}),
    )


def _first_format(metadata: BundleConfig, kind: str) -> Mapping[str, Any]:
    """What network_data_format says of the image, or of the prediction; empty where it says nothing."""
    formats = metadata.content.get("network_data_format")
    of_kind = formats.get(kind) if isinstance(formats, Mapping) else None
    said = next(iter(of_kind.values()), None) if isinstance(of_kind, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def _count(said: Mapping[str, Any]) -> int | None:
    number = said.get("num_channels")
    return number if type(number) is int else None


def _classes(outputs: Mapping[str, Any], num_classes: int, path: Path) -> tuple[str, ...] | None:
    """The names in channel_def, by number; None, with a warning, where it does not name each class."""
    said = outputs.get("channel_def")
    names = {str(key): str(name) for key, name in said.items()} if isinstance(said, Mapping) else {}
    numbers = [str(number) for number in range(num_classes)]
    if sorted(names) != sorted(numbers):
        logger.warning(
            "%s names %d of %d classes in channel_def; they are called by their numbers", path, len(names), num_classes
        )
        return None
    return check_classes([names[number] for number in numbers])
