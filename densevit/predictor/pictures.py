"""Pictures found and read for a model: files, folders of them, one file a channel, and arrays.

Legend: image (C, H, W) in the file's units, arrays (H, W) or (H, W, C).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import Normalization, create_normalization
from densevit.pictures.picture import ARRAY_ENDINGS, IMAGE_ENDINGS
from densevit.pictures.reading import read_input
from densevit.predictor.inputs import Input, find_paths, name_inputs

logger = logging.getLogger("densevit")
LARGE = 2**28  # numbers, a gibibyte as float32


@dataclass(frozen=True)
class Picture:
    """`image` is (C, H, W), the file's own numbers."""

    image: np.ndarray


class LargePicture:
    """What the network sees of a picture (C, H, W), of which only the part that is asked for becomes float32."""

    def __init__(self, image: np.ndarray, normalize: Normalization):
        self.image, self.shape = image, image.shape
        self.normalize = normalize.of(image)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.normalize(self.image[index])


class PictureReader:
    """Pictures for a checkpoint: of as many channels as its header says, normalised as the header says."""

    def __init__(self, header: Header):
        self.channels = header.image_channels
        self.normalization, self.exif = header.normalization, header.exif
        # Weights of a training that did not say whether it turned photos.
        self.warned = header.exif is not None or header.training is None
        self.normalize = create_normalization(header.normalization)
        self.find = partial(find_pictures, endings=IMAGE_ENDINGS + (() if self._is_rgb else ARRAY_ENDINGS))

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
        fits = isinstance(image, np.ndarray) and image.dtype.kind in "uif" and image.ndim in (2, 3) and image.size
        image = image.reshape(-1, *image.shape[-2:]) if fits else image
        if not fits or len(image) != self.channels or (image.dtype != np.uint8 and self._is_rgb):
            kind, size = "a uint8 RGB array" if self._is_rgb else "an array", f"(H, W, {self.channels})"
            got = f"{len(source)} files" if isinstance(source, list | tuple) else type(source).__name__
            got = f"{source.dtype} of shape {tuple(source.shape)}" if isinstance(source, np.ndarray | Tensor) else got
            raise ValueError(
                f"expected a path, one path for each of {self.channels} channels, or {kind} {size}, got {got}"
            )
        return Picture(image)

    def prepare(self, opened: Picture) -> np.ndarray | LargePicture:
        large = opened.image.size > LARGE
        return LargePicture(opened.image, self.normalize) if large else self.normalize(opened.image)

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


def find_pictures(
    inputs: str | Path | Iterable[str | Path],
    *,
    recursive: bool = False,
    exclude: Path | None = None,
    endings: tuple[str, ...] = IMAGE_ENDINGS,
) -> list[Input]:
    """The pictures that files, folders and globs name, see `find_paths`, called as `name_inputs` says.

    Pictures are files with one of the `endings`; `recursive` goes into the subfolders of folders.
    """

    def is_picture(path: Path) -> bool:
        """By its name; a folder, or a link that leads nowhere, is then missed aloud."""
        return path.suffix.lower() in endings and not path.name.startswith(".")

    def look_in(folder: Path, *, recursive: bool = recursive) -> list[Path]:
        found = [path for path in folder.glob("**/*" if recursive else "*") if is_picture(path)]
        entered = {above for path in found if recursive for above in path.parents}
        if found:
            return sorted(path for path in found if path not in entered)
        if is_picture(folder):
            return [folder]
        if not recursive and (below := look_in(folder, recursive=True)):
            raise FileNotFoundError(
                f"{folder} itself holds no image, its subfolders hold {len(below)}: add --recursive to go into them"
            )
        looked = f"files with one of the endings {' '.join(endings)} are looked for"
        raise FileNotFoundError(f"{folder} holds no image; {looked}")

    found = find_paths(inputs, look_in=look_in, fits=is_picture, exclude=exclude)
    places = ((path if path.is_dir() else path.with_suffix(""), root, (path,)) for path, root in found)
    return name_inputs(places, ending=".png")
