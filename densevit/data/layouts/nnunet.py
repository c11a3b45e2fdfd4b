"""Raw folders of nnU-Net, version 2 (channel_names) and 1 (modality). https://doi.org/10.1038/s41592-020-01008-z"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.data.case import Case
from densevit.data.dataset import DATASETS
from densevit.data.layouts.description import listed_case, read_description
from densevit.data.layouts.label_names import named_labels
from densevit.data.layouts.msd import channel_names
from densevit.data.layouts.pairing import IMAGE_ENDINGS, check_folder, check_root, is_hidden
from densevit.data.layouts.volume_layout import Fold, Listing, VolumeLayout
from densevit.quoting import shown
from densevit.texts import read_json

logger = logging.getLogger("densevit")


@DATASETS.register({"nnunet": {}})
@dataclass(frozen=True, kw_only=True)
class NnUNetRaw(VolumeLayout):
    """Cases of a folder such as Dataset004_Hippocampus: imagesTr/NAME_0000.nii.gz, one a channel, labelsTr/NAME.nii.gz.

    splits: a splits_final.json, below root (the default, where it is there) or anywhere: its entries are folds.
    Without it use val_every. See `VolumeLayout` for the other keys.
    """

    splits: str | None = None

    def listing(self) -> Listing:
        root = check_root(self.root)
        path = root / "dataset.json"
        content = read_description(path, beside="an nnU-Net folder holds dataset.json, imagesTr and labelsTr")
        key = "channel_names" if "channel_names" in content else "modality"
        channels = channel_names(content, said_by=path, key=key)
        if not channels:
            raise ValueError(f'{path} needs "channel_names" such as {{"0": "CT"}}')
        labels = named_labels(content.get("labels"), said_by=path)
        train = _cases(root, content, len(channels))
        _check_number(content, len(train), path)
        return Listing(
            said_by=path,
            cases=dict(train=train, val={}, test=_unlabelled(root, content, len(channels))),
            labels=labels,
            channels=channels,
            folds=self._folds(root, list(train)),
        )

    def _folds(self, root: Path, names: Sequence[str]) -> list[Fold]:
        path = root / (self.splits or "splits_final.json")
        if not path.is_file():
            if self.splits is None:
                return []
            path = Path(self.splits)
        if not path.is_file():
            raise ValueError(f"the splits {path} do not exist; nnU-Net keeps splits_final.json with preprocessed data")
        return _read_splits(path, names)


def _cases(root: Path, content: dict[str, Any], number: int) -> dict[str, Case]:
    """{name: case} of labelsTr, or of the list that "dataset" of dataset.json is."""
    listed = content.get("dataset")
    if isinstance(listed, dict) and listed:
        said_by = f"{root / 'dataset.json'}, 'dataset'"
        entries = {
            name: dict(image=each.get("images"), label=each.get("label")) if isinstance(each, dict) else each
            for name, each in listed.items()
        }
        return {name: listed_case(root, entry, said_by=said_by) for name, entry in sorted(entries.items())}
    ending = _ending(root, content)
    labels = _names(check_folder(root, "labelsTr", key="root"), ending)
    files = _names(check_folder(root, "imagesTr", key="root"), ending)
    images = _images(files)
    unnamed = sorted(name for name in files if _is_numbered(name) and int(name[-4:]) >= number)
    if unnamed:
        logger.warning(
            "%d files of %s are of channels that dataset.json does not name (it names %d), and are left out, first %s",
            *(len(unnamed), root / "imagesTr", number, unnamed[0] + ending),
        )
    extra = sorted(set(images) - set(labels))
    if extra:
        logger.warning(
            "%d cases of %s have no label and are left out, first %s", len(extra), root / "imagesTr", extra[0]
        )
    if not labels:
        raise ValueError(f"{root / 'labelsTr'} holds no file that ends in {ending}; see file_ending in dataset.json")
    return {
        name: Case(_channels(root / "imagesTr", name, ending, number), str(labels[name])) for name in sorted(labels)
    }


def _unlabelled(root: Path, content: dict[str, Any], number: int) -> dict[str, Case]:
    """Cases of imagesTs; with labels where labelsTs has all."""
    folder = root / "imagesTs"
    if not folder.is_dir():
        return {}
    ending = _ending(root, content)
    labels = _names(root / "labelsTs", ending) if (root / "labelsTs").is_dir() else {}
    names = sorted(_images(_names(folder, ending)))
    labels = labels if set(names) <= set(labels) else {}
    return {
        name: Case(_channels(folder, name, ending, number), str(labels[name]) if labels else None) for name in names
    }


def _channels(folder: Path, name: str, ending: str, number: int) -> tuple[str, ...]:
    paths = [folder / f"{name}_{i:04}{ending}" for i in range(number)]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise ValueError(f"{missing} does not exist; the case {name} needs an image for each of {number} channels")
    return tuple(map(str, paths))


def _ending(root: Path, content: dict[str, Any]) -> str:
    ending = content.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise ValueError(f"{root / 'dataset.json'}: file_ending must be such as '.nii.gz', got {shown(ending)}")
    if ending.lower() in IMAGE_ENDINGS:
        raise ValueError(
            f"{root / 'dataset.json'}: files that end in {ending} are pictures; write a config with type='folder'"
        )
    return ending


def _names(folder: Path, ending: str) -> dict[str, Path]:
    found = sorted(path for path in folder.iterdir() if path.name.endswith(ending) and not is_hidden(path.name))
    return {path.name.removesuffix(ending): path for path in found}


def _images(names: Iterable[str]) -> set[str]:
    """Those with the number of a channel, without it."""
    return {name[:-5] for name in names if _is_numbered(name)}


def _is_numbered(name: str) -> bool:
    return name[-5:-4] == "_" and name[-4:].isdecimal()


def _check_number(content: dict[str, Any], found: int, path: Path) -> None:
    said = content.get("numTraining", found)
    if isinstance(said, int) and found < said:
        raise ValueError(f"{path} says {said} training cases, and {found} are there; get the others, or correct it")
    if said != found:
        logger.warning("%s says %s training cases, and %d are there, which are all used", path, said, found)


def _read_splits(path: Path, names: Sequence[str]) -> list[Fold]:
    content = read_json(path)
    try:
        folds = [(frozenset(fold["train"]), frozenset(fold["val"])) for fold in content]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f'{path} is no list of {{"train": [...], "val": [...]}} ({error})') from None
    for number, (train, val) in enumerate(folds):
        unknown = sorted(map(str, (train | val) - set(names)))
        if unknown:
            raise ValueError(f"{path}, fold {number}, names {unknown[0]!r}, which has no label in labelsTr")
        if train & val:
            raise ValueError(f"{path}, fold {number}, has {sorted(train & val)[0]!r} to train and to validate on")
    return folds
