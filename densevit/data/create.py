"""`create_dataset`: from a config dictionary to an opened, checked data set."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from densevit.data.dataset import DATASETS, Dataset
from densevit.options import check_bools, check_fields
from densevit.registry import check_known

CHECKS = ("open", "load")


def create_dataset(config: dict) -> Dataset:
    """Open the set that `config` describes, such as dict(type="cityscapes", root="data/cityscapes", split="train").

    With check="open" (the default) every picture and label is checked now, once: what is found is remembered
    until a file changes. With check="load" they are checked as they are read. A missing root, an empty split, an image
    without label, an unknown key and a label value out of range raise ValueError.
    """
    check_dataset_config(config)
    dataset = _describe(config).open()
    if config.get("check", "open") == "open" and dataset.has_labels:
        dataset.check()
    return dataset


def check_dataset_config(config: dict) -> None:
    """Raise ValueError for an unknown type or key, naming the nearest known one, or a wrong value; touches no file."""
    if not isinstance(config, Mapping) or "type" not in config:
        raise ValueError(f"a dataset config needs a type, one of {', '.join(DATASETS.names())}; got {config!r}")
    check_known(config["type"], DATASETS.names(), what="no dataset named")
    known = [*DATASETS.keywords(config["type"]), "check"]
    for key in config:
        check_known(key, ["type", *known], what=f"the dataset {config['type']!r} has no key")
    if "root" in known and "root" not in config:
        raise ValueError(f"the dataset {config['type']!r} needs root, the folder that holds it")
    if config.get("check", "open") not in CHECKS:
        raise ValueError(f"check must be 'open' or 'load', got {config['check']!r}")
    described = _describe(config)
    if is_dataclass(described):
        check_fields(described, owner=f"the dataset {config['type']!r}")
    else:
        check_bools(DATASETS.parameters(config["type"]), config, where=f"the dataset {config['type']!r}: ")


def _describe(config: Mapping) -> Any:
    return DATASETS.create(config["type"], **{key: config[key] for key in config if key not in ("type", "check")})
