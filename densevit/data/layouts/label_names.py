"""The classes of label files, in each of the forms that sets write them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.labels import MOST_VALUE, check_classes
from densevit.quoting import shown

FORMS = '{"background": 0, "liver": 1} or {"0": "background", "1": "liver"}'
IGNORED = "ignore"  # the name that nnU-Net gives to voxels that nobody has labelled


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
    names, values = _pairs(labels, said_by)
    try:
        found = dict(zip(check_classes(names), values, strict=True))
        ignored = found.pop(IGNORED, None)
        return LabelNames(classes=check_classes(tuple(found)), values=tuple(found.values()), ignored=ignored)
    except ValueError as error:
        raise ValueError(f"{said_by}: {error}") from None


def _pairs(labels: Any, said_by: Path | str) -> tuple[Sequence[str], Sequence[int]]:
    if isinstance(labels, list | tuple):
        return labels, range(len(labels))
    if not isinstance(labels, Mapping) or not labels:
        raise ValueError(f"{said_by} does not name its classes (got {shown(labels)}); give classes={FORMS}")
    if all(str(key).isdecimal() and isinstance(name, str) for key, name in labels.items()):
        pairs = [(name, int(key) if len(str(key)) < 1000 else key) for key, name in labels.items()]
    else:
        pairs = list(labels.items())
    for name, value in pairs:
        _check_label(name, value, said_by)
    too_large = [value for _, value in pairs if value > MOST_VALUE]
    if too_large:
        raise ValueError(f"{said_by} names a label of {too_large[0]}, and {MOST_VALUE} is the most; number it anew")
    names, values = zip(*sorted(pairs, key=lambda pair: pair[1]), strict=True)
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise ValueError(f"{said_by} gives the label {twice} two names; a value is one class")
    return names, values


def _check_label(name: Any, value: Any, said_by: Path | str) -> None:
    if isinstance(value, list | tuple):
        raise ValueError(
            f"{said_by}: {shown(name)} is a region of the labels {shown(list(value))[1:-1]}, and densevit trains one "
            "class a voxel; name each label once, and join them after prediction"
        )
    if not isinstance(name, str) or isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(
            f"{said_by}: a label is a name and a whole number, such as {FORMS}, got {shown(name)}: {shown(value)}"
        )
