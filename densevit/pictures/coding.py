"""How the numbers or colours in label files stand for classes, and the check that none of them stands for nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np

from densevit.labels import IGNORE, Color, is_color, parse_color

ColorMap = Mapping[Color, int]
UNKNOWN = 254  # never leaves this file: it marks values that no rule covers
MAX_CLASSES = 254
MANY = 50  # values that no class has: labels that are wrong have fewer


@dataclass(frozen=True, kw_only=True)
class LabelCoding:
    """File values to train ids 0 .. num_classes - 1 and 255 (ignored).

    `ignore_value` is the ignored value in the file (None: there is none). `reduce_zero_label` ignores 0 and moves
    1 .. num_classes down by one. `label_map` replaces single values; those it does not name stay. `color_map` says
    that files are colour-coded; it applies first.
    """

    num_classes: int
    ignore_value: int | None = IGNORE
    reduce_zero_label: bool = False
    label_map: dict[int, int] = field(default_factory=dict)
    color_map: dict[Color, int] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.num_classes <= MAX_CLASSES:
            raise ValueError(f"expected 1 to {MAX_CLASSES} classes, got {self.num_classes}")
        if self.ignore_value is not None and not 0 <= self.ignore_value < 1 << 16:
            raise ValueError(f"ignore_index must be None or a file value from 0 to 65535, got {self.ignore_value}")
        if self.reduce_zero_label and (self.label_map or self.color_map):
            raise ValueError("reduce_zero_label cannot be combined with label_map or color_map; put the 0 in the map")
        for value, index in self.label_map.items():
            if not (0 <= value < 1 << 16 and (0 <= index < self.num_classes or index == IGNORE)):
                raise ValueError(
                    f"label_map has {value}: {index}; expected a file value from 0 to 65535 and a class below "
                    f"{self.num_classes}, or {IGNORE} to ignore it"
                )
        ignore, table = self.ignore_value, self._class_table()
        index = UNKNOWN if ignore is None else int(table[ignore])
        ignored_alone = ignore in self.label_map or np.count_nonzero(table == index) == 1
        if index not in (IGNORE, UNKNOWN) and ignored_alone:  # label_map has moved the class nowhere else
            raise ValueError(
                f"the value {ignore} is both ignored (ignore_index) and class {index}: set ignore_index to the value "
                f"that marks ignored pixels, or to 'none'; to ignore a class, give its value {IGNORE} in label_map"
            )

    @cached_property
    def _table(self) -> np.ndarray:
        """Train id of every 16-bit file value; UNKNOWN where the file may not have it."""
        table = self._class_table()
        if self.ignore_value is not None:
            table[self.ignore_value] = IGNORE
        return table

    def _class_table(self) -> np.ndarray:
        table = np.full(1 << 16, UNKNOWN, np.uint8)
        if self.reduce_zero_label:
            table[0] = IGNORE
            table[1 : self.num_classes + 1] = np.arange(self.num_classes)
        else:
            table[: self.num_classes] = np.arange(self.num_classes)
        for value, index in self.label_map.items():
            table[value] = index
        return table

    @cached_property
    def values(self) -> tuple[tuple[int, ...], ...]:
        """The file values that stand for each class, its own number last; none where files have colours."""
        if self.color_map is not None:
            return ()
        found = [np.flatnonzero(self._table == index).tolist() for index in range(self.num_classes)]
        return tuple(tuple(sorted(each, key=lambda value: value == index)) for index, each in enumerate(found))

    def decode(self, values: np.ndarray, *, path: str) -> np.ndarray:
        """File values (H, W) -> train ids, uint8 (H, W); a value that means nothing raises ValueError naming it."""
        if values.dtype == np.uint8:
            ids = self._table[:256].take(values)
        elif values.size and (values.min() < 0 or values.max() > 65535):
            raise ValueError(self._complaint(values, (values < 0) | (values > 65535), path))
        else:
            ids = self._table.take(values)
        unknown = ids == UNKNOWN
        if unknown.any():
            raise ValueError(self._complaint(values, unknown, path))
        return ids

    def _complaint(self, values: np.ndarray, unknown: np.ndarray, path: str) -> str:
        bad, count = sorted({int(v) for v in np.unique(values[unknown])}), int(unknown.sum())
        shown = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        first, last = (1, self.num_classes) if self.reduce_zero_label else (0, self.num_classes - 1)
        ignored = [] if self.ignore_value is None else [self.ignore_value]
        ignored += [0] if self.reduce_zero_label else []
        also = f" and {' and '.join(map(str, ignored))} (ignored)" if ignored else ""
        return (
            f"{path} has the label value{'s' * (len(bad) > 1)} {shown} ({count} pixels), but the {self.num_classes} "
            f"classes take {first} to {last}{also}; {self._advice(bad, {int(v) for v in np.unique(values)})}"
        )

    def _advice(self, bad: list[int], present: set[int]) -> str:
        if present <= {0, 255} and 255 in bad:
            return "this looks like a black-and-white mask: label_map={255: 1} reads white as class 1"
        if bad == [255]:
            return "if 255 marks ignored pixels, set ignore_index=255"
        if bad == [self.num_classes] and 0 not in present:
            return "if the labels count from 1, set reduce_zero_label=True"
        if bad == [self.num_classes]:
            return (
                f"if {self.num_classes} marks ignored pixels, set ignore_index={self.num_classes}; "
                "if 0 means no class, set reduce_zero_label=True; otherwise a class is missing from the classes"
            )
        if bad[0] < 0:
            return "negative values need saving anew as a class or the ignored value"
        if bad[-1] >= 1000:
            return "these look like instance ids: point to the semantic labels instead"
        if len(bad) > MANY:
            return "it looks like a photo: were image and label exchanged?"
        return "correct the classes, or give each of these values a class (or 255 to ignore it) in label_map"


def decode_colors(colors: np.ndarray, color_map: ColorMap, *, path: str) -> np.ndarray:
    """uint8 RGB (H, W, 3) -> uint8 (H, W); a colour that is not in `color_map` raises ValueError naming it."""
    codes = colors[..., 0].astype(np.int32) << 16 | colors[..., 1].astype(np.int32) << 8 | colors[..., 2]
    values = _color_table(tuple(sorted(color_map.items())))[codes]
    unknown = values == UNKNOWN
    if unknown.any():
        found, counts = np.unique(codes[unknown], return_counts=True)
        most = found[np.argsort(-counts)][:3]
        names = ", ".join(str((int(c) >> 16, int(c) >> 8 & 255, int(c) & 255)) for c in most)
        raise ValueError(
            f"{path} has {len(found)} colour{'s' * (len(found) > 1)} that color_map does not list, such as {names} "
            f"({int(counts.sum())} pixels); add them, or give them the value {IGNORE} to ignore them"
        )
    return values


@lru_cache(maxsize=4)
def _color_table(items: tuple[tuple[Color, int], ...]) -> np.ndarray:
    """Value of each of the 2**24 colours: one look-up a pixel, whatever the number of classes."""
    table = np.full(1 << 24, UNKNOWN, np.uint8)
    for (red, green, blue), value in items:
        table[red << 16 | green << 8 | blue] = value
    return table


def parse_color_map(given: Mapping | Sequence, *, classes: Sequence[str]) -> dict[Color, int]:
    """{(r, g, b): class index}, from one colour a class, or from a mapping between colours and classes.

    Colours are (r, g, b), "r,g,b" or "#rrggbb"; classes are indices, names, 255 or "ignore". A mapping may run either
    way ({colour: class}, or {class name: colour} as JSON files have it).
    """
    if not isinstance(given, Mapping):
        if len(given) != len(classes):
            raise ValueError(f"color_map lists {len(given)} colours for {len(classes)} classes; give one for each")
        given = dict(zip(classes, given, strict=True))
    color_map: dict[Color, int] = {}
    for key, value in given.items():
        color, name = (key, value) if is_color(key) else (value, key)
        color, index = parse_color(color), class_index(name, classes=classes, key="color_map")
        if color_map.setdefault(color, index) != index:
            raise ValueError(f"color_map gives the colour {color} two classes; give each class a colour of its own")
    return color_map


def class_index(name: object, *, classes: Sequence[str], key: str) -> int:
    """The train id that a config's `key` means by a class name, an index, 255 or "ignore"."""
    if name in classes:
        return list(classes).index(name)
    if isinstance(name, str) and name.lower() in ("ignore", "void", "unlabelled", "unlabeled"):
        return IGNORE
    if str(name).isdecimal() and (int(name) < len(classes) or int(name) == IGNORE):
        return int(name)
    raise ValueError(
        f"{key} names the class {name!r}, and the classes are {', '.join(classes)}; "
        f"write one of them, an index below {len(classes)}, or 'ignore'"
    )
