"""What is predicted: inputs found by files, folders and globs, the names of their results, and pictures.

Legend: image (C, *S) in the file's units, pixels (H, W) or (H, W, C).
"""

import glob
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, Protocol

import numpy as np

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Input:
    """What is predicted as one: `paths` is one file or folder, or one file a channel.

    Results are called `name`: their path below the output folder, without an ending (`aachen/frame_000`).
    """

    name: str
    paths: tuple[Path, ...]

    @property
    def path(self) -> Path:
        """The first file, by which messages and reports call the input."""
        return self.paths[0]

    @property
    def source(self) -> Path | list[Path]:
        """What a `Reader` reads."""
        return self.path if len(self.paths) == 1 else list(self.paths)


class Opened(Protocol):
    """An image that was read, as a `Picture` and a `Volume` are: `image` (C, *S) in the file's units."""

    image: np.ndarray


class Reader(Protocol):
    """Finds, reads and prepares the images of one kind: pictures, or scans.

    `find(inputs, recursive=..., exclude=...)` is `find_pictures` or `find_scans`.
    """

    find: Callable[..., list[Input]]

    def open(self, source: Any) -> Opened:
        """What is read of a path, of one path a channel, or of an array; ValueError for what does not fit."""

    def prepare(self, opened: Opened) -> np.ndarray:
        """What the network sees of it: float32 (C, *S), normalised."""


def find_paths(
    inputs: str | Path | Iterable[str | Path],
    *,
    look_in: Callable[[Path], list[Path]],
    fits: Callable[[Path], bool] = lambda path: True,
    exclude: Path | None = None,
) -> list[tuple[Path, Path]]:
    """(path, the folder that its result's name is relative to) of all that files, folders and globs name, each once.

    That folder is the named one, or the fixed part of a glob. A folder stands for what is found by `look_in`, and a
    glob for what it matches and `fits`. What lies in `exclude`, where results are written, is passed over, unless that
    is the named folder itself.
    Raises FileNotFoundError for a missing file, a glob without match, and where nothing is left.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not named or not all(map(str, named)):
        raise FileNotFoundError("no input was given, or an empty text: name files, folders or globs")
    found: dict[str, tuple[Path, Path]] = {}
    for each in named:
        path = Path(each)
        if path.exists():
            matches, root = [path], path if path.is_dir() else path.parent
        elif glob.has_magic(str(each)):
            matches = [match for match in sorted(map(Path, glob.glob(str(each), recursive=True))) if fits(match)]
            root = _fixed_part(path)
        else:
            raise FileNotFoundError(f"no such file or folder: {path}; check the path")
        if not matches:
            raise FileNotFoundError(f"no input matches {str(each)!r}: check the pattern and the working folder")
        if exclude is not None and is_below(exclude, root):
            matches = [match for match in matches if not is_below(match / "any", exclude)]
        for one in (one for match in matches for one in (look_in(match) if match.is_dir() else [match])):
            if exclude is None or not (is_below(exclude, root) and is_below(one, exclude)):
                found.setdefault(os.path.abspath(one), (one, root))
    if not found:
        raise FileNotFoundError(f"all inputs found lie in the output folder {exclude}; choose another one")
    return list(found.values())


def name_inputs(found: Iterable[tuple[Path, Path, tuple[Path, ...]]], *, ending: str) -> list[Input]:
    """Inputs of (path without its ending, folder that it was found in, files), called by their paths below that folder.

    Where two would be called alike, all are called by their paths below the nearest folder that holds them all.
    ValueError where that tells them no more apart; `ending` is that of their results.
    """
    found = list(found)
    names = [place.relative_to(root) if root in place.parents else _absolute(place).name for place, root, _ in found]
    if len(set(names)) < len(names):
        nearest = os.path.commonpath([_absolute(place).parent for place, _, _ in found])
        names = [_absolute(place).relative_to(nearest) for place, _, _ in found]
    inputs = [Input(Path(name).as_posix(), files) for name, (_, _, files) in zip(names, found, strict=True)]
    first: dict[str, Input] = {}
    for each in inputs:
        other = first.setdefault(each.name, each)
        if other is not each:
            raise ValueError(
                f"{other.path} and {each.path} would both be written as {each.name}{ending}: rename one, or predict "
                "them in two runs"
            )
    return inputs


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, or in one below it, links followed."""
    return folder.resolve() in path.resolve().parents


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard: data/*/x_*.png -> data."""
    return Path(*takewhile(lambda part: not glob.has_magic(part), pattern.parts[:-1]))


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))
