"""Videos, as files and as folders of frames, read forward a few frames at a time; and video files written.

Legend: frame (C, H, W), video (C, T, H, W), in RGB and in the file's own numbers.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from densevit.environment import environment_variable
from densevit.normalization import MEAN_STD
from densevit.pictures.picture import IMAGE_ENDINGS, VIDEO_ENDINGS, naming
from densevit.pictures.reading import read_input

EXACT = (".mp4", ".m4v", ".mov", ".avi")  # they say how many frames they have; others say how long they last
QUIET = ("OPENCV_FFMPEG_LOGLEVEL", "-8")  # what FFmpeg finds is said in one sentence by whoever asks it
USUAL_FPS = 25.0  # of folders, which do not say how fast their frames follow one another


class Frames:
    """An array (C, T, H, W) of `shape` that is sliced like one and holds no frame: `frames[:, 10:20]` reads ten.

    `decode(first)` gives the frames from number `first` on. Frames are decoded in order; going back begins anew.
    """

    def __init__(self, shape: Sequence[int], decode: Callable[[int], Iterator[np.ndarray]]):
        self.shape = tuple(shape)
        self._decode = decode
        self._next, self._stream = 0, decode(0)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: Any) -> np.ndarray:
        """(C, n, H, W) of slices, of which the second says which frames: neighbours, in order."""
        parts = (*(index if isinstance(index, tuple) else (index,)), *[slice(None)] * 4)[:4]
        begin, end, _ = parts[1].indices(self.shape[1])
        if begin < self._next:
            self._next, self._stream = begin, self._decode(begin)
        frames = list(islice(self._stream, begin - self._next, end - self._next))
        self._next = end
        return np.stack(frames, axis=1)[parts[0], :, parts[2], parts[3]]

    def again(self) -> "Frames":
        """The same frames for another reader, at another place."""
        return Frames(self.shape, self._decode)


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
    with naming(path):
        return _open_file(path, channels, upright=exif != "ignore")


def frame_files(folder: Path) -> list[Path]:
    """The pictures in a folder, 2.png before 10.png; none where it holds none."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS and path.name[0] != "."]
    return sorted(found, key=lambda path: [(part.zfill(20), part) for part in re.split(r"(\d+)", path.name)])


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


def _open_file(path: Path, channels: int, *, upright: bool) -> Video:
    if channels != 3:
        raise ValueError(f"{path} has 3 colours, and {channels} channels are expected; give folders of frames")
    with path.open("rb"), _capture(path, upright) as capture:  # opened, for the error of one that is missing
        promised, fps = round(capture.get(cv2.CAP_PROP_FRAME_COUNT)), capture.get(cv2.CAP_PROP_FPS)
        read, frame = capture.read()
        found = sum(1 for _ in iter(capture.grab, False)) + 1 if read else 0
    if not found or found < promised - (path.suffix.lower() not in EXACT):
        raise ValueError(
            f"{path} promises {promised} frames and holds {found} that can be decoded: it is damaged or was cut off; "
            "copy it again, or convert it to keep what is there"
        )

    def decode(begin: int) -> Iterator[np.ndarray]:
        with naming(path), _capture(path, upright) as capture:
            for number in count():
                if number < begin:
                    capture.grab()
                    continue
                read, pixels = capture.read()
                if not read or pixels.shape != frame.shape:
                    raise ValueError(f"{path} has no frame {number} of {found} any more; was it changed meanwhile?")
                yield cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)

    names = tuple(f"{number:06}" for number in range(found))
    return Video(path, Frames((3, found, *frame.shape[:2]), decode), names, fps if 0 < fps < 1000 else None)


@contextmanager
def _capture(path: Path, upright: bool) -> Iterator[cv2.VideoCapture]:
    with environment_variable(*QUIET):
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            endings = " ".join(VIDEO_ENDINGS)
            raise ValueError(f"{path} is no video that OpenCV reads, or its end is missing; copy it again ({endings})")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, float(upright))
        yield capture
    finally:
        capture.release()


@contextmanager
def writing_video(path: Path, *, size: tuple[int, int], fps: float | None) -> Iterator[Callable[[np.ndarray], None]]:
    """Within the block a function takes one frame (H, W, 3) of `size` after another: MPEG-4 in the .mp4 at `path`.

    The last row and column of odd sizes are left out. OSError where the file cannot be written.
    """
    with environment_variable(*QUIET):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps or USUAL_FPS, size[::-1])
    try:
        if not writer.isOpened():
            raise OSError(f"{path} cannot be written as a video of {size[1]} x {size[0]} pixels")
        yield lambda frame: writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
