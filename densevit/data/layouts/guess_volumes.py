"""The config of a set of scans from its folder alone: a JSON file that lists them, or where they lie."""

import re
from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from densevit.data.dataset import check_dataset_config
from densevit.data.layouts.datalist import read_description
from densevit.data.layouts.pairing import check_root, is_hidden
from densevit.data.layouts.subjects import subjects_of
from densevit.data.layouts.volume_folder import match_files
from densevit.options import read_options
from densevit.volumes.volume import ReadOptions, case_name, open_volume, read_label_volume

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
IMAGE_FOLDERS = ("imagesTr", "images", "image", "imgs", "scans", "volumes", "ct", "mr")
LABEL_FOLDERS = ("labelsTr", "labels", "label", "masks", "mask", "segmentations", "segs", "annotations")
LABEL_NAMES = re.compile(r"(?:^|[_.-])(?:label|labels|seg|segmentation|mask|gt)$", re.IGNORECASE)
VAL_EVERY = 5
MOST_CLASSES = 255
FORMS = (
    "a Decathlon or nnU-Net folder (dataset.json), a datalist (.json with a list 'training'), images/ and labels/ with "
    "files of the same names, or a folder a case that holds its images and label.nii.gz"
)


def guess_volume_dataset(
    data: str | Path, *, classes: Mapping[str, int] | None = None, read: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The config of the set in a folder, or that a JSON file lists; ValueError says what was looked for.

    Sets that do not name their classes get `classes`, or those values that their labels hold; `read` are the keys of
    `ReadOptions` for that.
    """
    path = Path(data).expanduser()
    if path.is_file() and path.suffix.lower() == ".json":
        return _listed(path, classes, read)
    root = check_root(data)
    if (root / "dataset.json").is_file():
        return _listed(root / "dataset.json", classes, read)
    for file in sorted(root.glob("*.json")):
        try:
            lists_cases = isinstance(read_description(file, beside="").get("training"), list)
        except (OSError, ValueError):
            continue
        if lists_cases and not is_hidden(file.name):
            return _listed(file, classes, read)
    patterns = _two_folders(root) or _folder_a_case(root)
    if patterns is None:
        raise ValueError(f"{root} is none of these: {FORMS}; or say where images and labels lie")
    return describe_folder(root, *patterns, classes=classes, read=read)


def describe_folder(
    root: Path,
    images: list[str],
    labels: str,
    *,
    classes: Mapping[str, int] | None = None,
    read: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The config of a folder by patterns; without `classes` those that its labels hold."""
    found = dict(classes or _find_classes(match_files(root, labels, key="labels").values(), read=read))
    pattern = images[0] if len(images) == 1 else images
    config = dict(type="volume_folder", root=str(root), images=pattern, labels=labels, classes=found)
    first = next(iter(match_files(root, images[0], key="images").values()))
    return config | (_in_channels(first, read) if len(images) == 1 else {})


def choose_split(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with cases for validation: the set's own, or every fifth subject (of fewer than five, one).

    Its own lists are not used where a `group` says that they split a subject.
    """
    config = dict(config)
    if config.get("val_every") is not None or config.get("fold") is not None:
        return config
    layout = check_dataset_config(config)
    listing = layout.listing()
    subjects = subjects_of(list(listing.labelled), layout.group, root=listing.root)
    train, val = ({subjects[name] for name in listing.cases.get(split, {})} for split in ("train", "val"))
    if val and not train & val:
        return config
    if listing.folds and layout.group is None:
        return dict(config, fold=0)
    number = len(set(subjects.values()))
    return dict(config, val_every=min(VAL_EVERY, number)) if number > 1 else config


def _find_classes(labels: Iterable[str], *, read: Mapping[str, Any] | None) -> dict[str, int]:
    """{"background": 0, "class_1": 1, ...} of all values in label files.

    ValueError where they are no labels, and where none can be read, such as DICOM-SEG, which need their scans.
    """
    values: set[int] = set()
    options, reason = read_options(ReadOptions, read or {}, where="read"), ""
    for path in labels:
        try:
            values |= set(np.unique(read_label_volume(path, options=options)[0]).tolist())
        except (OSError, ValueError) as error:
            reason = reason or str(error)
            continue  # the fingerprint names it
        if len(values) > MOST_CLASSES or min(values) < 0:
            raise ValueError(f"{path} does not look like a label file: it holds {len(values)} values; give the labels")
    if reason and not values:
        raise ValueError(f"the classes are not known ({reason}); give them, such as --classes background=0 liver=1")
    return {f"class_{value}" if value else "background": int(value) for value in sorted(values | {0})}


def _listed(path: Path, classes: Mapping[str, int] | None, read: Mapping[str, Any] | None) -> dict[str, Any]:
    """The config of a set by the JSON file in its folder."""
    root, content = path.parent, read_description(path, beside=FORMS)
    if path.name == "dataset.json" and ("channel_names" in content or any(root.glob("imagesTr/*_0000.*"))):
        return dict(type="nnunet", root=str(root))
    training = content.get("training")
    if not isinstance(training, list) or not training:
        raise ValueError(f"{path} lists no case under 'training'; expected {FORMS}")
    entries = [entry for entry in training if isinstance(entry, dict)]
    plain = all("fold" not in entry and not isinstance(entry.get("image"), list) for entry in entries)
    if path.name == "dataset.json" and plain and content.get("labels"):
        return dict(type="msd", root=str(root))
    config = dict(type="monai_datalist", root=str(root), datalist=path.name)
    if not content.get("labels"):
        named = [entry.get("label") for entry in entries]
        firsts = [label[0] if isinstance(label, list) and label else label for label in named]
        labels = [str(root / label) for label in firsts if isinstance(label, str)]
        config["classes"] = dict(classes or _find_classes(labels, read=read))
    first = entries[0].get("image") if entries else None
    if isinstance(first, str) and not content.get("modality"):
        config |= _in_channels(str(root / first), read)
    return config


def _in_channels(path: str, read: Mapping[str, Any] | None) -> dict[str, int]:
    """in_channels, where one file holds several; what cannot be read is named by the fingerprint."""
    try:
        number = len(open_volume(path, options=read_options(ReadOptions, read or {}, where="read")).image)
    except (OSError, ValueError):
        return {}
    return dict(in_channels=number) if number > 1 else {}


def _two_folders(root: Path) -> tuple[list[str], str] | None:
    """images/*.nii.gz and labels/*.nii.gz, where what follows the shared name may differ."""
    for images, labels in product(IMAGE_FOLDERS, LABEL_FOLDERS):
        (ending, names), (label_ending, label_names) = _files(root / images), _files(root / labels)
        close = sorted((name for name in label_names if names and name.startswith(names[0])), key=len)
        if close:
            return [f"{images}/*{ending}"], f"{labels}/*{close[0].removeprefix(names[0])}{label_ending}"
    return None


def _files(folder: Path) -> tuple[str, list[str]]:
    """The first ending of scans in a folder, and the names of the files that have it."""
    files = sorted(path for path in folder.iterdir() if not is_hidden(path.name)) if folder.is_dir() else []
    for ending in ENDINGS:
        names = [case_name(path) for path in files if path.name.endswith(ending)]
        if names:
            return ending, names
    return "", []


def _folder_a_case(root: Path) -> tuple[list[str], str] | None:
    """*/flair.nii.gz, */t1.nii.gz, ... and */label.nii.gz: of the folders that hold a label."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)):
        files = [path for path in sorted(folder.iterdir()) if path.name.endswith(ENDINGS) and path.is_file()]
        labels = [path for path in files if LABEL_NAMES.search(case_name(path))]
        images = [path for path in files if path not in labels and not case_name(path).lower().endswith("mask")]
        if len(labels) != 1 or not images:
            continue
        start, name = "*/", ""
        if all(path.name.startswith(folder.name) for path in (*images, *labels)):
            start, name = "**/*", folder.name  # BraTS repeats it: p1/p1_t1.nii.gz, p1/p1_seg.nii.gz
        patterns = [start + path.name.removeprefix(name) for path in (*images, *labels)]
        return patterns[:-1], patterns[-1]
    return None
