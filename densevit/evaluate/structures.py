"""What the values of label maps mean: names of structures, regions of several values, and values that are ignored."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from densevit.data.layouts.cityscapes import CLASSES, LABEL_ID_TO_TRAIN_ID, TRAIN_ID_TO_LABEL_ID
from densevit.data.layouts.classes import IGNORED, read_classes
from densevit.labels import IGNORE, MOST_VALUE
from densevit.quoting import label_name, shown
from densevit.registry import check_known
from densevit.texts import read_json

PRESETS = ("cityscapes", "cityscapes_categories", "cityscapes_train_ids")
# Of the official table, as its evaluation groups the classes that it scores.
CATEGORIES = {
    "flat": (7, 8),
    "construction": (11, 12, 13),
    "object": (17, 19, 20),
    "nature": (21, 22),
    "sky": (23,),
    "human": (24, 25),
    "vehicle": (26, 27, 28, 31, 32, 33),
}
# Mean pixels of an instance, of those classes that have instances: the official scripts weigh by them.
AVERAGE_SIZES = {
    24: 3462.4756337644,
    25: 3930.4788056518,
    26: 12794.0202738185,
    27: 27855.1264367816,
    28: 35732.1511111111,
    31: 67583.7075812274,
    32: 6298.7200839748,
    33: 4672.3249222261,
}
FILES = ("dataset.json", "classes.json", "classes.txt")


@dataclass(frozen=True)
class Structures:
    """`labels` maps each name to its values in the files, several for a region; `ignored` are values of the truth that
    nobody has labelled; `said_by` is where that stands. `average_sizes` are mean pixels of an instance, by value, where
    instances are to be scored."""

    labels: Mapping[str, tuple[int, ...]]
    ignored: tuple[int, ...] = (IGNORE,)
    said_by: str = "the classes"
    average_sizes: Mapping[int, float] = field(default_factory=dict)

    def check(self, values: np.ndarray, *, path: object, what: str) -> None:
        """ValueError for a value without a meaning: files of another coding would be scored as if they had this one.

        0 may stand where nothing is.
        """
        known = {0, *self.ignored, *(value for each in self.labels.values() for value in each)}
        unknown = sorted(set(np.unique(values).tolist()) - known)
        if unknown:
            more = ", ..." if len(unknown) > 5 else ""
            raise ValueError(
                f"the {what} {path} holds {', '.join(map(str, unknown[:5]))}{more}, of which {self.said_by} does not "
                "speak; give the file that names the classes of these values with --classes"
            )

    def values_of(self, names: Sequence[str], *, path: object) -> list[int]:
        """The value of each of these names, as a file without values calls its structures; ValueError for others."""
        values = {label_name(name): each[0] for name, each in self.labels.items() if len(each) == 1}
        for name in names:
            check_known(name, values, what=f"{path} has a segment that {self.said_by} does not name,")
        return [values[name] for name in names]

    @property
    def ignore_index(self) -> int:
        """A value that stands for all ignored ones: 255, or -1 where 255 is a class."""
        return -1 if any(IGNORE in values for values in self.labels.values()) else IGNORE

    def class_values(self, num_classes: int) -> dict[int, str]:
        """Value -> name of so many classes, in the order of their values; 0 is one although nothing names it.

        ValueError where there are others, or regions, of which a voxel may have several.
        """
        named = {values[0]: name for name, values in self.labels.items() if len(values) == 1}
        found = named if len(named) == num_classes else {0: "background", **named}
        if len(found) != num_classes or any(value not in found for each in self.labels.values() for value in each):
            raise ValueError(
                f"probabilities of {num_classes} classes do not fit {self.said_by}, which names "
                f"{', '.join(self.labels)}; each class needs a value of its own"
            )
        return dict(sorted(found.items()))

    def without_ignored(self, truth: np.ndarray) -> np.ndarray:
        """The truth (*S) with `ignore_index` in place of every ignored value."""
        found = np.isin(truth, [value for value in self.ignored if value != self.ignore_index])
        if not found.any():
            return truth
        return np.where(found, self.ignore_index, truth.astype(np.int32))


def find_structures(classes: str | Path | None, truth: Path) -> Structures | None:
    """From a preset's name or a file; else from a dataset.json, classes.json or classes.txt in the folder of the truth
    or in the one above; None where nothing says."""
    if classes in PRESETS:
        return _of_cityscapes(str(classes))
    if classes is not None:
        return read_structures(Path(classes))
    for folder in (truth, truth.parent) if truth.is_dir() else (truth.parent,):
        for path in (folder / name for name in FILES):
            if path.is_file():
                return read_structures(path)
    return None


def read_structures(path: Path) -> Structures:
    """From the dataset.json of nnU-Net (with regions) or the Decathlon, {"liver": 1, ...}, or our classes file."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; it names the classes, or give one of {', '.join(PRESETS)}")
    content = read_json(path) if path.suffix.lower() == ".json" else None
    if isinstance(content, dict) and "classes" not in content:
        labels = content.get("labels", content)
        if not isinstance(labels, dict):
            raise ValueError(f'{path} names no class; write it as {{"background": 0, "liver": 1}}')
        return _named(labels, said_by=path)
    said = read_classes(path)
    if said.color_map is not None or said.label_map is not None or said.reduce_zero_label:
        raise ValueError(
            f"{path} maps the values or colours of its files to classes; give --classes a .json file that names the "
            'values themselves: {"road": 7, "car": [26, 27]}'
        )
    ignored = (said.ignore_index,) if isinstance(said.ignore_index, int) else (IGNORE,) * (said.ignore_index is None)
    return Structures({name: (i,) for i, name in enumerate(said.classes)}, ignored, said_by=str(path))


def structures_of_values(values: Iterable[int]) -> Structures:
    """Of values that nothing names: each is called by itself, and 255 is ignored."""
    return Structures({str(value): (value,) for value in sorted(set(values) - {IGNORE})}, said_by="what was found")


def _named(labels: Mapping[str, Any], *, said_by: Path) -> Structures:
    """Of {name: value}, {name: [values]} or {value: name}; what is called "ignore" is no structure."""
    if all(key.isdecimal() and isinstance(name, str) for key, name in labels.items()):
        labels = {name: int(value) for value, name in labels.items()}
    found = {name: tuple(value) if isinstance(value, list) else (value,) for name, value in labels.items()}
    for name, values in found.items():
        if not values or any(type(value) is not int or not 0 <= value <= MOST_VALUE for value in values):
            raise ValueError(
                f"{said_by}: a structure has a whole number from 0 to {MOST_VALUE} or a list of them, got "
                f"{shown(name)}: {shown(labels[name])}"
            )
    ignored = found.pop(IGNORED, (IGNORE,))
    named = {value for values in found.values() for value in values}
    return Structures(found, tuple(value for value in ignored if value not in named), said_by=str(said_by))


def _of_cityscapes(preset: str) -> Structures:
    if preset == "cityscapes_train_ids":
        sizes = {LABEL_ID_TO_TRAIN_ID[value]: size for value, size in AVERAGE_SIZES.items()}
        labels = {name: (i,) for i, name in enumerate(CLASSES)}
        return Structures(labels, said_by="the table of train ids", average_sizes=sizes)
    ignored = tuple(value for value, train_id in LABEL_ID_TO_TRAIN_ID.items() if train_id == IGNORE)
    labels = {name: (TRAIN_ID_TO_LABEL_ID[i],) for i, name in enumerate(CLASSES)}
    labels = CATEGORIES if preset == "cityscapes_categories" else labels
    return Structures(labels, (*ignored, IGNORE), said_by="the table of label ids", average_sizes=AVERAGE_SIZES)
