"""The classes of label files: a user's own file of names, and the tables in the JSON files of other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from densevit.labels import MOST_VALUE, check_classes, parse_color
from densevit.options import check_fields
from densevit.quoting import shown
from densevit.texts import read_json, read_text

FORMS = '{"background": 0, "liver": 1} or {"0": "background", "1": "liver"}'
IGNORED = "ignore"  # the name that nnU-Net gives to voxels that nobody has labelled


@dataclass(frozen=True, kw_only=True)
class ClassesFile:
    """Class names in the order of their values, None where the file says nothing; `path` is that of the file."""

    classes: list | tuple
    palette: list | tuple | None = None
    color_map: dict | list | None = None
    label_map: dict | None = None
    ignore_index: int | str | None = None
    reduce_zero_label: bool | None = None
    path: Path | None = None


def find_classes(classes: str | Sequence[str] | None, *, root: Path) -> ClassesFile:
    """From a list of names, a file (below the root or anywhere), or classes.json / classes.txt in the root."""
    if classes is not None and not isinstance(classes, str | Path):
        return ClassesFile(classes=check_classes(classes))
    names = ["classes.json", "classes.txt"] if classes is None else [classes]
    path = next((root / name for name in names if (root / name).is_file()), None)
    if path is None:
        advice = "write the class names there, one a line in the order of label values, or give classes=[...]"
        raise ValueError(f"{root} has no {' or '.join(map(str, names))}; {advice}")
    return read_classes(path)


def read_classes(path: str | Path) -> ClassesFile:
    """A .json file (a list of names, or an object with "classes" and more), or a text file with one name a line."""
    path = Path(path)
    if path.suffix.lower() == ".json":
        content = read_json(path, advice='write it as {"classes": [...]}')
        content = {"classes": content} if isinstance(content, list) else content
    else:
        lines = [line.strip() for line in read_text(path).splitlines()]
        content = {"classes": [line for line in lines if line and not line.startswith("#")]}
    if not isinstance(content, dict) or "classes" not in content:
        raise ValueError(f'{path} has no "classes"; write it as {{"classes": ["road", ...], "ignore_index": 255}}')
    keys = [field.name for field in fields(ClassesFile) if field.name in content and field.name != "path"]
    try:
        said = ClassesFile(**{key: content[key] for key in keys})
        check_fields(said, owner="the file")
        palette = None if said.palette is None else tuple(map(parse_color, said.palette))
        if palette is not None and len(palette) != len(said.classes):
            raise ValueError(f"it has {len(palette)} colours for {len(said.classes)} classes; give as many")
        return replace(said, classes=check_classes(said.classes), palette=palette, path=path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class LabelNames:
    """Classes and their file values, in the order of values, and the value that is ignored."""

    classes: Sequence[str]
    values: Sequence[int]
    ignored: int | None = None


def named_labels(labels: Any, *, said_by: Path | str) -> LabelNames:
    """Of {name: value}, {value: name}, or names alone from 0 on; what is called "ignore" is no class.

    ValueError for anything else, and for regions (several values a name).
    """
    if isinstance(labels, list | tuple):
        pairs = [(name, value) for value, name in enumerate(labels)]
    elif not isinstance(labels, Mapping) or not labels:
        raise ValueError(f"{said_by} does not name its classes (got {shown(labels)}); give classes={FORMS}")
    elif all(str(key).isdecimal() and isinstance(name, str) for key, name in labels.items()):
        pairs = [(name, int(key) if len(str(key)) < 1000 else key) for key, name in labels.items()]
    else:
        pairs = list(labels.items())
    try:
        check_classes([name for name, _ in pairs])
        for name, value in pairs:
            _check_value(name, value)
        names_of: dict[int, str] = {}
        for name, value in sorted(pairs, key=lambda pair: pair[1]):
            if value in names_of:
                raise ValueError(f"the label {value} has two names, {names_of[value]!r} and {name!r}; leave out one")
            names_of[value] = name
        ignored = next((value for value, name in names_of.items() if name == IGNORED), None)
        names_of.pop(ignored, None)
        return LabelNames(classes=check_classes(list(names_of.values())), values=tuple(names_of), ignored=ignored)
    except ValueError as error:
        raise ValueError(f"{said_by}: {error}") from None


def _check_value(name: str, value: Any) -> None:
    if isinstance(value, list | tuple):
        region = f"{shown(name)} is a region of the labels {shown(list(value))[1:-1]}"
        raise ValueError(f"{region}, and a voxel has one class; name each label once, and join them after prediction")
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_VALUE:
        got = f"{shown(name)}: {shown(value)}"
        raise ValueError(f"a label is a name and a whole number up to {MOST_VALUE}, such as {FORMS}, got {got}")
