"""Labels whose colours stand for classes, turned into class numbers, and the words in which a config says so."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from densevit.labels import IGNORE, Color, is_color, parse_color

ColorMap = Mapping[Color, int]

UNKNOWN = 254  # never leaves densevit.data: it marks values that no rule covers
MAX_CLASSES = 254


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
