"""Raw folders of nnU-Net, version 2 (channel_names) and 1 (modality). https://doi.org/10.1038/s41592-020-01008-z"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.data.case import Case
from densevit.data.dataset import DATASETS
from densevit.data.layouts.classes import named_labels
from densevit.data.layouts.datalist import channel_names, listed_case, read_description
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
        train = _training_cases(root, content, len(channels))
        said = content.get("numTraining", len(train))
        if isinstance(said, int) and len(train) < said:
            raise ValueError(
                f"{path} says {said} training cases, and {len(train)} are there; get the others, or correct it"
            )
        if said != len(train):
            logger.warning("%s says %s training cases, and %d are there, which are all used", path, said, len(train))
        return Listing(
            root=root,
            said_by=path,
            cases=dict(train=train, val={}, test=_test_cases(root, content, len(channels))),
            labels=named_labels(content.get("labels"), said_by=path),
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


def _training_cases(root: Path, content: dict[str, Any], number: int) -> dict[str, Case]:
    """{name: case} of labelsTr, or of the list that "dataset" of dataset.json is; `number` is that of channels."""
    listed = content.get("dataset")
    if isinstance(listed, dict) and listed:
        said_by = f"{root / 'dataset.json'}, 'dataset'"
        entries = {
            name: dict(image=each.get("images"), label=each.get("label")) if isinstance(each, dict) else each
            for name, each in listed.items()
        }
        return {name: listed_case(root, entry, said_by=said_by) for name, entry in sorted(entries.items())}
    ending = _ending(root, content)
    labels = _files(check_folder(root, "labelsTr", key="root"), ending)
    folder = check_folder(root, "imagesTr", key="root")
    found = _channels(_files(folder, ending))
    unnamed = sorted(f"{name}_{channel}{ending}" for name, channel in found if int(channel) >= number)
    if unnamed:
        logger.warning(
            "%d files of %s are of channels that dataset.json does not name (it names %d), and are left out, first %s",
            *(len(unnamed), folder, number, unnamed[0]),
        )
    extra = sorted({name for name, _ in found} - set(labels))
    if extra:
        logger.warning("%d cases of %s have no label and are left out, first %s", len(extra), folder, extra[0])
    if not labels:
        raise ValueError(f"{root / 'labelsTr'} holds no file that ends in {ending}; see file_ending in dataset.json")
    return {name: _case(folder, name, ending, number, labels[name]) for name in sorted(labels)}


def _test_cases(root: Path, content: dict[str, Any], number: int) -> dict[str, Case]:
    """Cases of imagesTs; with labels where labelsTs has all."""
    ending, folder = _ending(root, content), root / "imagesTs"
    labels = _files(root / "labelsTs", ending)
    names = sorted({name for name, _ in _channels(_files(folder, ending))})
    labels = labels if set(names) <= set(labels) else {}
    return {name: _case(folder, name, ending, number, labels.get(name)) for name in names}


def _case(folder: Path, name: str, ending: str, number: int, label: str | None) -> Case:
    paths = [folder / f"{name}_{channel:04}{ending}" for channel in range(number)]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise ValueError(f"{missing} does not exist; the case {name} needs an image for each of {number} channels")
    return Case(tuple(map(str, paths)), label)


def _ending(root: Path, content: dict[str, Any]) -> str:
    ending = content.get("file_ending", ".nii.gz")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise ValueError(f"{root / 'dataset.json'}: file_ending must be such as '.nii.gz', got {shown(ending)}")
    if ending.lower() in IMAGE_ENDINGS:
        raise ValueError(
            f"{root / 'dataset.json'}: files that end in {ending} are pictures; write a config with type='folder'"
        )
    return ending


def _files(folder: Path, ending: str) -> dict[str, str]:
    """{name without the ending: path} of the files that have it; nothing where there is no folder."""
    paths = folder.iterdir() if folder.is_dir() else ()
    found = [path for path in paths if path.name.endswith(ending) and not is_hidden(path.name)]
    return {path.name.removesuffix(ending): str(path) for path in found}


def _channels(names: Iterable[str]) -> list[tuple[str, str]]:
    """Name and number of those that end in the number of a channel: liver_000_0001 -> liver_000, 0001."""
    return [(name[:-5], name[-4:]) for name in names if name[-5:-4] == "_" and name[-4:].isdecimal()]
