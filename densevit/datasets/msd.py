"""Folders of the Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr. https://arxiv.org/abs/1902.09063"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from densevit.datasets.base import DATASETS
from densevit.datasets.intensity import ZSCORE
from densevit.datasets.pairing import check_root
from densevit.datasets.volumes import Case, VolumeDataset, class_table

SPLITS = ("train", "val")


@DATASETS.register({"msd": {}})
@dataclass(frozen=True, kw_only=True)
class Decathlon:
    """Volumes and labels that dataset.json lists under "training" and, where it has them, "validation".

    val_every: for sets that are not split, or to split them otherwise: of the sorted cases every n-th is for
        validation, beginning with number `fold`, and the others for training; 0 uses dataset.json's own lists.
    normalization, spacing: see `VolumeDataset`.
    """

    root: str
    split: str = "train"
    val_every: int = 0
    fold: int = 0
    normalization: dict = field(default_factory=lambda: dict(ZSCORE))
    spacing: list | tuple | None = None

    def open(self) -> VolumeDataset:
        if self.split not in SPLITS:
            raise ValueError(f"split must be 'train' or 'val', got {self.split!r}")
        root = check_root(self.root)
        content = _read_description(root / "dataset.json")
        classes, values = class_table(content.get("labels"), path=str(root / "dataset.json"))
        files = self._files(root, content)
        if not files:
            raise ValueError(
                f"{root / 'dataset.json'} lists no case for split {self.split!r}; set val_every=5 to validate on "
                "every fifth case of its list"
            )
        return VolumeDataset(
            [Case((image,), label) for image, label in files],
            classes=classes,
            label_values=values,
            in_channels=len(content.get("modality", "1")),
            normalization=self.normalization,
            spacing=self.spacing,
        )

    def _files(self, root: Path, content: dict[str, Any]) -> list[tuple[str, str]]:
        lists = dict(train=_pairs(root, content, "training"), val=_pairs(root, content, "validation"))
        if not self.val_every:
            return lists[self.split]
        if self.val_every < 2 or not 0 <= self.fold < self.val_every:
            raise ValueError(
                f"val_every must be at least 2 and fold 0 to val_every - 1, got {self.val_every} and {self.fold}"
            )
        wanted = self.split == "val"
        cases = sorted({*lists["train"], *lists["val"]})
        return [pair for i, pair in enumerate(cases) if (i % self.val_every == self.fold) == wanted]


def _read_description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} does not exist; a Decathlon folder holds dataset.json, imagesTr and labelsTr")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one object with labels and training, got a {type(content).__name__}")
    return content


def _pairs(root: Path, content: dict[str, Any], key: str) -> list[tuple[str, str]]:
    """(image, label) paths of a list, sorted; every file must be there."""
    pairs = []
    for entry in content.get(key, []):
        if not isinstance(entry, dict) or not {"image", "label"} <= entry.keys():
            raise ValueError(f"{root / 'dataset.json'}: an entry of {key!r} needs image and label, got {entry!r}")
        paths = [root / entry[kind] for kind in ("image", "label")]
        for path in paths:
            if not path.is_file():
                raise ValueError(f"{root / 'dataset.json'} lists {path}, which does not exist")
        pairs.append((str(paths[0]), str(paths[1])))
    return sorted(pairs)
