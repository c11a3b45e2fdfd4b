"""The classes file of an image/label folder: names, and what else it says about the labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from densevit.datasets.base import check_classes
from densevit.datasets.colors import Color, parse_color


@dataclass(frozen=True, kw_only=True)
class ClassesFile:
    """Class names in the order of their values; None where the file says nothing."""

    classes: tuple[str, ...]
    palette: tuple[Color, ...] | None = None
    color_map: dict | list | None = None
    label_map: dict | None = None
    ignore_index: int | None = None
    reduce_zero_label: bool | None = None


def find_classes(classes: str | Sequence[str] | None, *, root: Path) -> ClassesFile:
    """From a list of names, a file (below the root or anywhere), or classes.json / classes.txt in the root."""
    if classes is not None and not isinstance(classes, str | Path):
        return ClassesFile(classes=check_classes(classes))
    names = ["classes.json", "classes.txt"] if classes is None else [classes]
    path = next((root / name for name in names if (root / name).is_file()), None)
    if path is None:
        raise ValueError(
            f"{root} has no {' or '.join(map(str, names))}; write the class names there, one a line in the order of "
            "the label values, or give classes=[...]"
        )
    return read_classes(path)


def read_classes(path: str | Path) -> ClassesFile:
    """A .json file (a list of names, or an object with "classes" and more), or a text file with one name a line."""
    path = Path(path)
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() != ".json":
        lines = [line.strip() for line in text.splitlines()]
        return ClassesFile(classes=_named(path, [line for line in lines if line and not line.startswith("#")]))
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f'{path} is not valid JSON ({error}); write it as {{"classes": [...]}}') from error
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, dict) or "classes" not in content:
        raise ValueError(f'{path} has no "classes"; write it as {{"classes": ["road", ...], "ignore_index": 255}}')
    palette = content.get("palette")
    return ClassesFile(
        classes=_named(path, content["classes"]),
        palette=None if palette is None else tuple(parse_color(color) for color in palette),
        color_map=content.get("color_map"),
        label_map=content.get("label_map"),
        ignore_index=content.get("ignore_index"),
        reduce_zero_label=content.get("reduce_zero_label"),
    )


def _named(path: Path, classes: Sequence[str]) -> tuple[str, ...]:
    try:
        return check_classes(classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
