"""Videos, as files and as folders of frames, found and read forward a few frames at a time.

Legend: frame (C, H, W), video (C, T, H, W), in RGB and in the file's own numbers.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from densevit.normalization import MEAN_STD, Normalization
from densevit.pictures.picture import IMAGE_ENDINGS, VIDEO_ENDINGS, naming
from densevit.pictures.reading import read_input


class Frames:
    """An array (C, T, H, W) of `shape` that is sliced like one and holds no frame: `frames[:, 10:20]` reads ten.

    `decode(first)` gives the frames from number `first` on. Frames are decoded in order; going back begins anew.
    """

    def __init__(self, shape: Sequence[int], decode: Callable[[int], Iterator[np.ndarray]]):
        self.shape = tuple(shape)
        self._decode = decode
        self._next, self._stream = 0, None

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> np.ndarray:
        """(C, n, H, W) of slices, of which the second says which frames: neighbours, in order."""
        parts = (*(index if isinstance(index, tuple) else (index,)), *[slice(None)] * 4)[:4]
        begin, end, _ = parts[1].indices(self.shape[1])
        if self._stream is None or begin < self._next:
            self._next, self._stream = begin, self._decode(begin)
        frames = list(islice(self._stream, begin - self._next, end - self._next))
        self._next = end
        return np.stack(frames, axis=1)[parts[0], :, parts[2], parts[3]]

    def again(self) -> "Frames":
        """The same frames for another reader, at another place."""
        return Frames(self.shape, self._decode)


def normalize_frames(frames: np.ndarray, normalize: Normalization) -> np.ndarray:
    """(C, T, H, W) -> float32 of the same shape, each frame by itself, as a picture is."""
    return np.stack([normalize(frame) for frame in frames.swapaxes(0, 1)], axis=1)


class SeenVideo:
    """What the network sees of a video (C, T, H, W), of which only the frames that are asked for become float32.

    Each frame is normalised by itself, as a picture is.
    """

    def __init__(self, image: Frames | np.ndarray, normalize: Normalization):
        self.image, self.shape = image, image.shape
        self.normalize = normalize

    def __getitem__(self, index: Any) -> np.ndarray:
        return normalize_frames(self.image[index], self.normalize)


@dataclass(frozen=True)
class Video:
    """`image` is (C, T, H, W) and `names` are those of its frames; `fps` is None where nothing says it."""

    path: Path
    image: Frames
    names: tuple[str, ...]
    fps: float | None = None


def open_video(
    path: str | Path, *, channels: int = 3, normalization: Mapping[str, Any] = MEAN_STD, exif: str | None = None
) -> Video:
    """A video file, or a folder whose pictures are frames in the order of the numbers in their names.

    A file is decoded once to count its frames. It is turned upright as it asks for, unless exif="ignore"; frames that
    are pictures are read by `read_input`. ValueError, one sentence with the name, for what is no video, for one that
    ends before its last frame, and, as they are read, for frames of another size than the first.
    """
    path = Path(path)
    if path.is_dir():
        return _open_folder(path, partial(read_input, channels=channels, normalization=normalization, exif=exif))
    from densevit.pictures.video_file import open_file  # which brings OpenCV

    with naming(path):
        return open_file(path, channels, upright=exif != "ignore")


def frame_files(folder: Path) -> list[Path]:
    """The pictures in a folder, 2.png before 10.png; none where it holds none."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and path.name[0] != "."]
    return sorted(found, key=lambda path: [(part.zfill(20), part) for part in re.split(r"(\d+)", path.name)])


def is_video_file(path: Path) -> bool:
    """By its name."""
    return path.suffix.lower() in VIDEO_ENDINGS and not path.is_dir()


def list_videos(folder: Path, *, recursive: bool, deeper: bool = True) -> list[Path]:
    """A folder that holds pictures; else the video files and such folders in it, or with `recursive` anywhere below."""
    if frame_files(folder):
        return [folder]
    found: list[Path] = []
    for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
        found += [path] if is_video_file(path) else []
        found += list_videos(path, recursive=recursive, deeper=recursive) if deeper and path.is_dir() else []
    return found


def _open_folder(folder: Path, read: Callable[[Path], tuple[np.ndarray, int]]) -> Video:
    files = frame_files(folder)
    names = [path.stem for path in files]
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if not files or twice is not None:
        why = "holds no picture" if twice is None else f"holds two frames that are called {twice}"
        raise ValueError(f"{folder} {why}, and the frames of a video are expected, such as 00000.jpg, 00001.jpg, ...")
    first = read(files[0])[0].shape

    def decode(begin: int) -> Iterator[np.ndarray]:
        for path in files[begin:]:
            frame, _ = read(path)
            if frame.shape != first:
                (height, width), (first_height, first_width) = frame.shape[1:], first[1:]
                sizes = f"{width} x {height} pixels and {files[0].name} {first_width} x {first_height}"
                raise ValueError(f"{path} has {sizes}; the frames of a video are of one size")
            yield frame

    return Video(folder, Frames((first[0], len(files), *first[1:]), decode), tuple(names))
