"""What nnU-Net writes beside its weights: plans.json and dataset.json, of all versions since its second.

A configuration ("3d_fullres") may inherit from another; plans of before 2024 describe their network by numbers of a
U-Net, later ones name a class and its arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.labels import check_classes
from densevit.options import fit
from densevit.registry import check_known
from densevit.texts import read_json

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Plans:
    """`content` is plans.json, `path` where it lies."""

    content: Json
    path: Path

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """What it says under a key, as the type `kind`; ValueError that names the file otherwise."""
        return _get(self.content, key, kind, default, where=self.path)

    def configuration(self, name: str) -> "Configuration":
        """The configuration of that name with all that it inherits; ValueError for one that is not there."""
        all_of_them = self.get("configurations", dict[str, dict[str, Any]])
        content: dict[str, Any] = {}
        parent, seen = name, []
        while parent is not None:
            check_known(parent, all_of_them, what=f"{self.path} has no configuration")
            if parent in seen:
                raise ValueError(f"{self.path} is damaged: its configuration {parent!r} inherits from itself")
            seen.append(parent)
            content = {**all_of_them[parent], **content}
            parent = all_of_them[parent].get("inherits_from")
        return Configuration(name, content, self.path)


@dataclass(frozen=True)
class Configuration:
    """One of the ways to see a set's images that plans hold: "2d", "3d_fullres", "3d_lowres", ..."""

    name: str
    content: Json
    path: Path

    def get(self, key: str, kind: Any, default: Any = None) -> Any:
        """What it says under a key, as the type `kind`; ValueError that names the file otherwise."""
        return _get(self.content, key, kind, default, where=f"{self.path}: configurations.{self.name}")

    @property
    def patch_size(self) -> tuple[int, ...]:
        """Of a window, along the network's axes."""
        return self.get("patch_size", tuple[int, ...])

    @property
    def spacing(self) -> tuple[float, ...]:
        """Millimetres along the same axes."""
        return self.get("spacing", tuple[float, ...])


@dataclass(frozen=True)
class DatasetDescription:
    """What dataset.json says: names of the channels and of the classes, the first of which is the background.

    `values` stand for the classes in label maps. With `regions` the others overlap: the network has an output for each
    but the background, and where several are there the last one counts.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    values: tuple[int, ...]
    regions: bool


def read_plans(path: Path) -> Plans:
    """plans.json; OSError where there is none, ValueError for other content."""
    content = read_json(path)
    if not isinstance(content, dict) or "configurations" not in content:
        raise ValueError(f"{path} holds no plans of nnU-Net's second version; give a folder that nnUNetv2_train wrote")
    return Plans(content, path)


def read_description(path: Path) -> DatasetDescription:
    """dataset.json; ValueError for labels of which our label maps cannot be made, in one sentence."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} is no dataset.json of nnU-Net; it must hold the names of channels and labels")
    key = "modality" if "modality" in content else "channel_names"  # its first name, which counts first there
    channels = _get(content, key, dict[str, Any] | list[Any], None, where=path)
    names = list(channels.values()) if isinstance(channels, dict) else channels
    labels = _get(content, "labels", dict[str, Any], None, where=path)
    channels = tuple(map(str, names))
    if any(isinstance(given, list) and len(given) > 1 for given in labels.values()):
        return DatasetDescription(channels, *_regions(content, labels, path), regions=True)
    classes = _classes(labels, path)
    return DatasetDescription(channels, classes, tuple(range(len(classes))), regions=False)


def _regions(content: Json, labels: Json, path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of regions that may overlap, in the order of the network's outputs, and the value that each of them writes
    over those before it; the background first.
    """
    order = _get(content, "regions_class_order", tuple[int, ...], None, where=path)
    names = [name for name, given in labels.items() if name != "ignore" and given not in (0, [0])]
    if len(order) != len(names) or len({0, *order}) <= len(order) or min(order, default=0) < 1:
        raise ValueError(
            f"{path} has the regions {', '.join(names)} and regions_class_order {list(order)}, and a value above 0 of "
            "its own is expected for each; predict it with nnU-Net"
        )
    background = next((name for name, given in labels.items() if given in (0, [0])), "background")
    return check_classes([background, *names]), (0, *order)


def _classes(labels: Json, path: Path) -> tuple[str, ...]:
    """Names by the values 0, 1, 2, ...; the value that training ignored is no class."""
    values: dict[int, str] = {}
    for name, given in labels.items():
        if name == "ignore":
            continue
        several = given if isinstance(given, list) else [given]
        if len(several) != 1 or not str(several[0]).isdecimal():
            raise ValueError(f"{path} gives the label {name} the value {given!r}, and a whole number is expected")
        values[int(several[0])] = name
    if sorted(values) != list(range(len(values))) or len(values) < 2:
        raise ValueError(
            f"{path} has labels of the values {sorted(values)}, and nnU-Net numbers its outputs from 0 without gaps; "
            "correct it as its set was trained"
        )
    return check_classes([values[value] for value in range(len(values))])


def _get(content: Json, key: str, kind: Any, default: Any, *, where: object) -> Any:
    if key not in content:
        if default is None:
            raise ValueError(f"{where} lacks the key {key!r}, which nnU-Net writes there; copy the folder again")
        return default
    try:
        return fit(content[key], kind, where=key)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
