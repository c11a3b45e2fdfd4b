"""Folders of the Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr. https://arxiv.org/abs/1902.09063"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.data.dataset import DATASETS
from densevit.data.layouts.description import listed_case, name_cases, read_description
from densevit.data.layouts.label_names import named_labels
from densevit.data.layouts.pairing import check_root
from densevit.data.layouts.volume_layout import Listing, VolumeLayout
from densevit.quoting import shown

LISTS = dict(train="training", val="validation", test="test")


@DATASETS.register({"msd": {}})
@dataclass(frozen=True, kw_only=True)
class Decathlon(VolumeLayout):
    """Cases that dataset.json lists under "training" and, where it has them, "validation" and "test".

    A fourth axis of an image holds channels, which "modality" names. See `VolumeLayout` for the keys.
    """

    def listing(self) -> Listing:
        root = check_root(self.root)
        path = root / "dataset.json"
        content = read_description(path, beside="a Decathlon folder holds dataset.json, imagesTr and labelsTr")
        return Listing(
            said_by=path,
            cases=list_cases(root, content, LISTS, said_by=path),
            labels=named_labels(content.get("labels"), said_by=path),
            channels=channel_names(content, said_by=path) or ("image",),
        )


def list_cases(root: Path, content: dict[str, Any], lists: dict[str, str], *, said_by: Path) -> dict[str, dict]:
    """{split: {name: case}} of the lists that are there; a name is in one list."""
    cases, split_of = [], []
    for split, key in lists.items():
        entries = content.get(key) or []
        if not isinstance(entries, list):
            raise ValueError(f"{said_by}: {key!r} must be a list of cases, got {type(entries).__name__}")
        where = f"{said_by}, {key!r}"
        cases += [listed_case(root, entry, said_by=where, labelled=split != "test") for entry in entries]
        split_of += [split] * len(entries)
    places = {case.images: split for case, split in zip(cases, split_of, strict=True)}
    named = name_cases(cases, root=root)
    return {split: {name: case for name, case in named.items() if places[case.images] == split} for split in lists}


def channel_names(content: dict[str, Any], *, said_by: Path, key: str = "modality") -> tuple[str, ...]:
    """The values of {"0": "T1", "1": "T2"} in the order of numbers; empty where nothing is said."""
    names = content.get(key) or {}
    if isinstance(names, str):
        names = {"0": names}
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        raise ValueError(f'{said_by} needs {key!r} such as {{"0": "T1", "1": "T2"}}, got {shown(names)}')
    return tuple(str(name) for _, name in sorted(names.items(), key=lambda pair: int(pair[0])))
