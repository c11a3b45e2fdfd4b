"""What is predicted: inputs with the names of their results, and pictures from files, folders, globs and arrays.

Legend: image (C, *S) in the file's units, pixels (H, W) or (H, W, C).
"""

import glob
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import create_normalization
from densevit.pictures.picture import ARRAY_ENDINGS, IMAGE_ENDINGS
from densevit.pictures.reading import read_input

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
    """Finds, reads and prepares the images of one kind: pictures, or scans."""

    def find(
        self, inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
    ) -> list[Input]:
        """The inputs that files, folders and globs name; results are written to `exclude`, which must hold none."""

    def open(self, source: Any) -> Opened:
        """What is read of a path, of one path a channel, or of an array; ValueError for what does not fit."""

    def prepare(self, opened: Opened) -> np.ndarray:
        """What the network sees of it: float32 (C, *S), normalised."""


@dataclass(frozen=True)
class Picture:
    """`image` is (C, H, W), the file's own numbers."""

    image: np.ndarray


class PictureReader:
    """Pictures for a checkpoint: of as many channels as its header says, normalised as the header says."""

    def __init__(self, header: Header):
        self.channels = header.image_channels
        self.normalization, self.exif = header.normalization, header.exif
        # Weights of a training that did not say whether it turned photos.
        self.warned = header.exif is not None or header.training is None
        self.normalize = create_normalization(header.normalization)

    def find(
        self, inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
    ) -> list[Input]:
        """See `find_pictures`; ValueError for two that would be written under one name."""
        endings = IMAGE_ENDINGS if self._is_rgb else (*IMAGE_ENDINGS, *ARRAY_ENDINGS)
        pictures = find_pictures(inputs, recursive=recursive, exclude=exclude, endings=endings)
        check_names(pictures)
        return pictures

    def open(self, source: str | Path | Sequence[str | Path] | np.ndarray | Tensor) -> Picture:
        """A file, a list of one file a channel, an array (H, W) or (H, W, C), or a tensor (H, W) or (C, H, W)."""
        if isinstance(source, str | Path):
            if Path(source).exists() and not Path(source).is_file():
                raise ValueError(f"{source} is called like a picture and is none, but a folder or a pipe; rename it")
            return Picture(self._read(source, channels=self.channels))
        if isinstance(source, list | tuple) and source:
            image = np.concatenate([self._read(path, channels=1) for path in source])
        elif isinstance(source, Tensor):
            image = source.detach().cpu().numpy()
        else:
            image = source.transpose(2, 0, 1) if np.ndim(source) == 3 else source
        if not isinstance(image, np.ndarray) or image.dtype.kind not in "uif" or image.ndim not in (2, 3):
            raise ValueError(f"{self._expected}, got {_described(source)}")
        image = image.reshape(-1, *image.shape[-2:]) if image.size else image
        if len(image) != self.channels or not image.size or (image.dtype != np.uint8 and self._is_rgb):
            raise ValueError(f"{self._expected}, got {_described(source)}")
        return Picture(image)

    def prepare(self, opened: Picture) -> np.ndarray:
        return self.normalize(opened.image)

    def _read(self, path: str | Path, *, channels: int) -> np.ndarray:
        """(C, H, W), upright or as stored, whichever the network was trained on."""
        image, turned = read_input(path, channels=channels, normalization=self.normalization, exif=self.exif)
        if turned != 1 and not self.warned:
            self.warned = True
            logger.warning(
                "%s is turned upright by its EXIF orientation (%d); the checkpoint is of an older densevit and does "
                "not say whether training did so: if its data set had exif='ignore', train anew, or predict files "
                "without that tag",
                path,
                turned,
            )
        return image

    @property
    def _is_rgb(self) -> bool:
        """Whether the network was trained on 8-bit colours."""
        return (
            self.normalization["type"] == "mean_std" and self.channels == 3 and max(self.normalization["mean"]) <= 255
        )

    @property
    def _expected(self) -> str:
        if self._is_rgb:
            return (
                "expected a path or a uint8 RGB array of shape (H, W, 3); "
                "densevit.pictures.reading.read_image makes one of any picture file"
            )
        return f"expected a path, one path for each of {self.channels} channels, or an array (H, W, {self.channels})"


def _described(thing: Any) -> str:
    if isinstance(thing, np.ndarray | Tensor):
        return f"{thing.dtype} of shape {tuple(thing.shape)}"
    return f"{len(thing)} files" if isinstance(thing, list | tuple) else type(thing).__name__


def find_pictures(
    inputs: str | Path | Iterable[str | Path],
    *,
    recursive: bool = False,
    exclude: Path | None = None,
    endings: tuple[str, ...] = IMAGE_ENDINGS,
) -> list[Input]:
    """All pictures that files, folders and globs name, each once, in the order given and by name within a folder.

    A picture found below a folder (or below the fixed part of a glob) keeps its path relative to it; one named by
    itself keeps its file name. `recursive` goes into subfolders; `exclude` is a folder to stay out of, and
    `endings` are those of pictures.
    Raises FileNotFoundError for a missing file, an empty folder or a glob without match.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if not named:
        raise FileNotFoundError("no input was given: name image files, folders or globs")
    pictures: dict[str, Input] = {}
    for each in named:
        for path, root in _expand(each, recursive=recursive, endings=endings):
            if exclude is None or not (is_below(exclude, root) and is_below(path, exclude)):
                pictures.setdefault(
                    os.path.abspath(path), Input(path.relative_to(root).with_suffix("").as_posix(), (path,))
                )
    if not pictures:
        raise FileNotFoundError(f"all images found lie in the output folder {exclude}; choose another one")
    return list(pictures.values())


def check_names(pictures: Sequence[Input]) -> None:
    """Raise ValueError when two pictures would be written under one name."""
    first: dict[str, Input] = {}
    for picture in (each for each in pictures if not each.path.is_dir()):  # which is told when it is opened
        other = first.setdefault(picture.name, picture)
        if other is not picture:
            apart = picture.path.parent != other.path.parent
            raise ValueError(
                f"{other.path} and {picture.path} would both be written as {picture.name}.png: "
                f"{'give the folder above both (with --recursive), ' * apart}rename one, or predict them in two runs"
            )


def _expand(named: str | Path, *, recursive: bool, endings: tuple[str, ...]) -> Iterator[tuple[Path, Path]]:
    """(picture, the folder that its name is relative to) for one thing that a user named."""
    path = Path(named)
    if not str(named):
        raise FileNotFoundError("one of the inputs is an empty text; name an image file, a folder or a glob")
    if path.is_dir():
        found = _images_in(path, recursive=recursive, endings=endings)
        if not found:
            raise FileNotFoundError(_nothing_in(path, recursive=recursive, endings=endings))
        yield from ((image, path) for image in found)
    elif path.exists():
        yield path, path.parent
    elif glob.has_magic(str(named)):
        matches = sorted(Path(match) for match in glob.glob(str(named), recursive=True))
        found = [match for match in matches if _is_image(match, endings)]
        if not found:
            raise FileNotFoundError(f"no image matches {str(named)!r}: check the pattern and the working folder")
        yield from ((image, fixed_part(path)) for image in found)
    else:
        raise FileNotFoundError(f"no such file or folder: {path}; check the path")


def _images_in(folder: Path, *, recursive: bool, endings: tuple[str, ...]) -> list[Path]:
    found = [path for path in folder.glob("**/*" if recursive else "*") if _is_image(path, endings)]
    entered = {above for path in found if recursive for above in path.parents}
    return sorted(path for path in found if path not in entered)


def _is_image(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether it is called like a picture; a folder, or a link that leads nowhere, is then missed aloud."""
    return path.suffix.lower() in endings and not path.name.startswith(".")


def _nothing_in(folder: Path, *, recursive: bool, endings: tuple[str, ...]) -> str:
    below = [] if recursive else _images_in(folder, recursive=True, endings=endings)
    if below:
        return f"{folder} itself holds no image, its subfolders hold {len(below)}: add --recursive to go into them"
    return f"{folder} holds no image; files with one of the endings {' '.join(endings)} are looked for"


def fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard: data/*/x_*.png -> data."""
    fixed = Path()
    for part in pattern.parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path lies in a folder, or in one below it, links followed."""
    return folder.resolve() in path.resolve().parents
