"""What the JSON file of a data set says, read with care: its paths stay inside the set's folder."""

from collections.abc import Mapping
from os.path import exists, normpath
from pathlib import Path, PurePath
from typing import Any

from densevit.data.case import Case
from densevit.quoting import shown
from densevit.texts import read_json
from densevit.volumes.volume import case_name


def read_description(path: Path, *, beside: str) -> dict[str, Any]:
    """The object in a JSON file; `beside` says what a folder that holds such a file looks like."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist; {beside}")
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one object, such as {{...}}, got a {type(content).__name__}")
    return content


def inside(root: Path, name: Any, *, said_by: Path | str) -> Path:
    """`root / name`, which must exist; a path that leads out of the root raises ValueError.

    Links on the disk are followed: whoever made them knows where the data lie.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"{said_by}: a path is text, got {shown(name)}")
    below = PurePath(normpath(root / name))
    if not below.is_relative_to(normpath(root)) or below == PurePath(normpath(root)):
        raise ValueError(f"{said_by} names {shown(name)}, which lies outside {root}; write paths below it")
    path = Path(below)
    if not exists(path):  # which Path.exists raises for where a name is too long
        raise ValueError(f"{said_by} lists {shown(str(path))}, which does not exist")
    return path


def listed_case(root: Path, entry: Any, *, said_by: str, labelled: bool = True) -> Case:
    """One entry of a list: dict(image=path or paths, label=path); without labels also the path of an image alone."""
    if isinstance(entry, str) and not labelled:
        entry = dict(image=entry)
    wanted = {"image", "label"} if labelled else {"image"}
    if not isinstance(entry, Mapping) or not wanted <= entry.keys():
        raise ValueError(f"{said_by}: an entry needs {' and '.join(sorted(wanted))}, got {shown(entry)}")
    images, label = entry["image"], entry.get("label")
    if isinstance(label, list):
        if len(label) != 1:
            raise ValueError(f"{said_by}: a label is one file, got {shown(label)}; write the classes into one file")
        label = label[0]
    files = [inside(root, name, said_by=said_by) for name in (images if isinstance(images, list) else [images])]
    if not files:
        raise ValueError(f"{said_by}: an entry has no image: {shown(entry)}")
    label = None if label is None else str(inside(root, label, said_by=said_by))
    return Case(tuple(map(str, files)), label)


def name_cases(cases: list[Case], *, root: Path) -> dict[str, Case]:
    """{name: case}, sorted: the first image's name without its ending, with its folders where names repeat."""
    names = [case_name(Path(case.images[0])) for case in cases]
    if len(set(names)) < len(names):
        first = [Path(case.images[0]) for case in cases]
        names = [(path.parent / case_name(path)).relative_to(normpath(root)).as_posix() for path in first]
    named = dict(sorted(zip(names, cases, strict=True), key=lambda pair: pair[1].images))
    if len(named) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the case {twice} of {root} is listed twice; list every case once")
    return named
