"""Sets whose cases a JSON file lists: datalists as MONAI reads them and Auto3DSeg writes them, and Decathlon folders.

The Medical Segmentation Decathlon: https://arxiv.org/abs/1902.09063. Paths in a file stay inside the set's folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from os.path import exists, normpath
from pathlib import Path, PurePath
from typing import Any

from densevit.data.case import Case
from densevit.data.dataset import DATASETS
from densevit.data.layouts.classes import named_labels
from densevit.data.layouts.pairing import check_root
from densevit.data.layouts.volume_layout import Fold, Listing, VolumeLayout, name_channels
from densevit.quoting import shown
from densevit.texts import read_json
from densevit.volumes.volume import case_name

MOST_FOLDS = 1000


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
        return _listing(content, path, root=root, classes=content.get("labels"))


@DATASETS.register({"monai_datalist": {}})
@dataclass(frozen=True, kw_only=True)
class Datalist(VolumeLayout):
    """Cases of a datalist; paths in it are below `root`.

    datalist: the JSON file, below root or anywhere. Its "fold" numbers are folds; an "image" may be a list of files,
        one a channel.
    classes: {name: value in the files}, or names in the order of values from 0; where the file has no "labels".
    in_channels: of images that hold several channels in one file, where the file has no "modality".
    See `VolumeLayout` for the other keys.
    """

    datalist: str = "datalist.json"
    classes: dict | list | tuple | None = None
    in_channels: int | None = None

    def listing(self) -> Listing:
        root = check_root(self.root)
        path = root / self.datalist if (root / self.datalist).is_file() else Path(self.datalist)
        content = read_description(path, beside="set datalist to the JSON file that lists the cases")
        classes = content.get("labels") if self.classes is None else self.classes
        return _listing(content, path, root=root, classes=classes, in_channels=self.in_channels)


def read_description(path: Path, *, beside: str) -> dict[str, Any]:
    """The object in a JSON file; `beside` says what a folder that holds such a file looks like."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; {beside}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one object, such as {{...}}, got a {type(content).__name__}")
    return content


def listed_case(root: Path, entry: Any, *, said_by: str, labelled: bool = True) -> Case:
    """One entry of a list: dict(image=path or paths, label=path); without labels also the path of an image alone."""
    if isinstance(entry, str) and not labelled:
        entry = dict(image=entry)
    wanted = ["image", "label"] if labelled else ["image"]
    if not isinstance(entry, Mapping) or not all(entry.get(key) for key in wanted):
        raise ValueError(f"{said_by}: an entry needs {' and '.join(wanted)}, got {shown(entry)}")
    images, labels = (value if isinstance(value, list) else [value] for value in map(entry.get, ("image", "label")))
    if len(labels) != 1:
        raise ValueError(f"{said_by}: a label is one file, got {shown(labels)}; write the classes into one file")
    files = tuple(_inside(root, name, said_by=said_by) for name in images)
    return Case(files, None if labels[0] is None else _inside(root, labels[0], said_by=said_by))


def _inside(root: Path, name: Any, *, said_by: str) -> str:
    """`root / name`, which must exist; a path that leads out of the root raises ValueError.

    Links on the disk are followed: whoever made them knows where the data lie.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{said_by}: a path is text, got {shown(name)}")
    path, folder = normpath(root / name), PurePath(normpath(root))
    if folder not in PurePath(path).parents:
        raise ValueError(f"{said_by} names {shown(name)}, which lies outside {root}; write paths below it")
    if not exists(path):  # which Path.exists raises for where a name is too long
        raise ValueError(f"{said_by} lists {shown(path)}, which does not exist")
    return path


def channel_names(content: dict[str, Any], *, said_by: Path, key: str = "modality") -> tuple[str, ...]:
    """The values of {"0": "T1", "1": "T2"} in the order of numbers; empty where nothing is said."""
    names = content.get(key) or {}
    if isinstance(names, str):
        names = {"0": names}
    if not isinstance(names, dict) or sorted(map(str, names)) != sorted(map(str, range(len(names)))):
        raise ValueError(f'{said_by} needs {key!r} such as {{"0": "T1", "1": "T2"}}, got {shown(names)}')
    return tuple(str(name) for _, name in sorted(names.items(), key=lambda pair: int(pair[0])))


def _listing(
    content: dict[str, Any], path: Path, *, root: Path, classes: Any, in_channels: int | None = None
) -> Listing:
    """What the lists of a file say; a name is in one of them."""
    labels, channels = named_labels(classes, said_by=path), channel_names(content, said_by=path)
    cases: list[Case] = []
    places: dict[tuple[str, ...], tuple[str, Any]] = {}  # split and fold, by the images of a case
    keys = dict(train="training", val="validation", test="testing" if "testing" in content else "test")
    for split, key in keys.items():
        entries = content.get(key) or []
        if not isinstance(entries, list):
            raise ValueError(f"{path}: {key!r} must be a list of cases, got {type(entries).__name__}")
        for entry in entries:
            case = listed_case(root, entry, said_by=f"{path}, {key!r}", labelled=split != "test")
            cases.append(case)
            places[case.images] = split, entry.get("fold") if isinstance(entry, Mapping) else None
    named = _name_cases(cases, root=root)
    by_split = {s: {name: case for name, case in named.items() if places[case.images][0] == s} for s in keys}
    files = max((len(case.images) for case in cases), default=1)
    return Listing(
        root=root,
        said_by=path,
        cases=by_split,
        labels=labels,
        channels=name_channels(channels, in_channels, otherwise=files),
        folds=_folds({name: places[case.images][1] for name, case in by_split["train"].items()}, said_by=path),
    )


def _name_cases(cases: list[Case], *, root: Path) -> dict[str, Case]:
    """{name: case}, sorted: the first image's name without its ending, with its folders where names repeat."""
    firsts = [Path(case.images[0]) for case in cases]
    names = [case_name(path) for path in firsts]
    if len(set(names)) < len(names):
        names = [(path.parent / case_name(path)).relative_to(normpath(root)).as_posix() for path in firsts]
    named = dict(sorted(zip(names, cases, strict=True), key=lambda pair: pair[1].images))
    if len(named) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the case {twice} of {root} is listed twice; list every case once")
    return named


def _folds(numbers: Mapping[str, Any], *, said_by: Path) -> list[Fold]:
    """Fold k validates on the cases with number k and trains on the others; empty where no case has a number."""
    if all(number is None for number in numbers.values()):
        return []
    for number in numbers.values():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MOST_FOLDS:
            wanted = f"a fold such as 0, below {MOST_FOLDS}, or none"
            raise ValueError(f"{said_by}: every entry of 'training' needs {wanted}; one has {shown(number)}")
    parts = [frozenset(n for n in numbers if numbers[n] == fold) for fold in range(max(numbers.values()) + 1)]
    return [(frozenset(numbers) - part, part) for part in parts]
