"""From what a user names (files, folders, globs) to pictures and the names of their outputs."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from densevit.data.layouts.pairing import IMAGE_ENDINGS, is_hidden


@dataclass(frozen=True)
class Picture:
    """One input: where it is, and its name below the output folder, without suffix (`aachen/frame_000`)."""

    path: Path
    name: Path


def find_pictures(
    inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
) -> list[Picture]:
    """All pictures that files, folders and globs name, each once, in the order given and by name within a folder.

    A picture found below a folder (or below the fixed part of a glob) keeps its path relative to it; one named by
    itself keeps its file name. `recursive` goes into subfolders; `exclude` is a folder to stay out of.
    Raises FileNotFoundError for a missing file, an empty folder or a glob without match.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not named:
        raise FileNotFoundError("no input was given: name image files, folders or globs")
    pictures: dict[str, Picture] = {}
    for each in named:
        for path, root in _expand(each, recursive=recursive):
            if exclude is None or not (_is_below(exclude, root) and _is_below(path, exclude)):
                pictures.setdefault(os.path.abspath(path), Picture(path, path.relative_to(root).with_suffix("")))
    if not pictures:
        raise FileNotFoundError(f"all images found lie in the output folder {exclude}; choose another one")
    return list(pictures.values())


def check_names(pictures: Sequence[Picture]) -> None:
    """Raise ValueError when two pictures would be written under one name."""
    first: dict[Path, Picture] = {}
    for picture in pictures:
        other = first.setdefault(picture.name, picture)
        if other is not picture:
            apart = picture.path.parent != other.path.parent
            raise ValueError(
                f"{other.path} and {picture.path} would both be written as {picture.name}.png: "
                f"{'give the folder above both (with --recursive), ' * apart}rename one, or predict them in two runs"
            )


def _expand(named: str | Path, *, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """(picture, the folder that its name is relative to) for one thing that a user named."""
    path = Path(named)
    if not str(named):
        raise FileNotFoundError("one of the inputs is an empty text; name an image file, a folder or a glob")
    if path.is_dir():
        found = _images_in(path, recursive=recursive)
        if not found:
            raise FileNotFoundError(_nothing_in(path, recursive=recursive))
        yield from ((image, path) for image in found)
    elif path.exists():
        yield path, path.parent
    elif glob.has_magic(str(named)):
        matches = sorted(Path(match) for match in glob.glob(str(named), recursive=True))
        found = [match for match in matches if _is_image(match)]
        if not found:
            raise FileNotFoundError(f"no image matches {str(named)!r}: check the pattern and the working folder")
        yield from ((image, _fixed_part(path)) for image in found)
    else:
        raise FileNotFoundError(f"no such file or folder: {path}; check the path")


def _images_in(folder: Path, *, recursive: bool) -> list[Path]:
    return sorted(path for path in folder.glob("**/*" if recursive else "*") if _is_image(path))


def _is_image(path: Path) -> bool:
    """A file with a picture's ending; also a link that leads nowhere, so that its picture is missed aloud."""
    if path.suffix.lower() not in IMAGE_ENDINGS or is_hidden(path.name):
        return False
    return path.is_file() or (path.is_symlink() and not path.exists())


def _nothing_in(folder: Path, *, recursive: bool) -> str:
    below = [] if recursive else _images_in(folder, recursive=True)
    if below:
        return f"{folder} itself holds no image, its subfolders hold {len(below)}: add --recursive to go into them"
    return f"{folder} holds no image; files with one of the endings {' '.join(IMAGE_ENDINGS)} are looked for"


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard: data/*/x_*.png -> data."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _is_below(path: Path, folder: Path) -> bool:
    return folder.resolve() in path.resolve().parents
