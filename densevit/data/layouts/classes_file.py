"""The classes file of an image/label folder: names, and what else it says about the labels."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from densevit.labels import check_classes, parse_color
from densevit.options import check_fields
from densevit.texts import read_json, read_text


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


_KEYS = [field.name for field in fields(ClassesFile) if field.name != "path"]


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
    if path.suffix.lower() != ".json":
        lines = [line.strip() for line in read_text(path).splitlines()]
        return _checked(path, dict(classes=[line for line in lines if line and not line.startswith("#")]))
    content = read_json(path, advice='write it as {"classes": [...]}')
    if isinstance(content, list):
        content = {"classes": content}
    if not isinstance(content, dict) or "classes" not in content:
        raise ValueError(f'{path} has no "classes"; write it as {{"classes": ["road", ...], "ignore_index": 255}}')
    return _checked(path, {key: content[key] for key in _KEYS if key in content})


def _checked(path: Path, content: dict) -> ClassesFile:
    try:
        said = ClassesFile(**content)
        check_fields(said, owner="the file")
        palette = None if said.palette is None else tuple(parse_color(color) for color in said.palette)
        if palette is not None and len(palette) != len(said.classes):
            raise ValueError(
                f"it has {len(palette)} colours in its palette for {len(said.classes)} classes; give as many"
            )
        return replace(said, classes=check_classes(said.classes), palette=palette, path=path)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
