"""Video files: what OpenCV decodes of them, frame by frame, and one written.

Legend: frame (C, H, W), video (C, T, H, W), uint8 in RGB.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock

import cv2
import numpy as np

from densevit.environment import environment_variable
from densevit.pictures.picture import VIDEO_ENDINGS, naming
from densevit.pictures.video import Frames, Video

# By the ending: VP8, which browsers play, and MPEG-4 part 2, which is written far faster.
CODECS = {".webm": "VP80", ".mp4": "mp4v"}
EXACT = (".mp4", ".m4v", ".mov", ".avi")  # they say how many frames they have; others say how long they last
_opening = Lock()
USUAL_FPS = 25.0  # of folders, which do not say how fast their frames follow one another


def open_file(path: Path, channels: int, *, upright: bool) -> Video:
    """What `open_video` says of files."""
    if path.suffix.lower() not in VIDEO_ENDINGS:
        raise ValueError(f"{path} is called like no video ({' '.join(VIDEO_ENDINGS)}); predict pictures in another run")
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
def _quiet() -> Iterator[None]:
    """Without what OpenCV and FFmpeg print of a file that they cannot open; one thread at a time."""
    with _opening, environment_variable("OPENCV_FFMPEG_LOGLEVEL", "-8"):  # which is read when the first one is opened
        before = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(0)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(before)


@contextmanager
def _without_tags() -> Iterator[None]:
    """Without the line that OpenCV prints past its log where a codec has no tag in a container, which needs none."""
    try:
        before = os.dup(2)
    except OSError:  # a process without standard error
        yield
        return
    with TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
            said.seek(0)
            for line in said:  # others may have written meanwhile
                if not line.startswith(b"OpenCV: FFMPEG: tag "):
                    os.write(2, line)


@contextmanager
def _capture(path: Path, upright: bool) -> Iterator[cv2.VideoCapture]:
    with _quiet():
        capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        if not capture.isOpened():
            raise ValueError(f"{path} is no video that OpenCV reads, or its end is missing; copy or convert it again")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, float(upright))
        yield capture
    finally:
        capture.release()


@contextmanager
def writing_video(path: Path, *, size: tuple[int, int], fps: float | None) -> Iterator[Callable[[np.ndarray], None]]:
    """Within the block a function takes one frame (H, W, 3) of `size` after another, for the .webm or .mp4 at `path`.

    The last row and column of odd sizes are left out. OSError where the file cannot be written to its end.
    """
    put = 0

    def write(frame: np.ndarray) -> None:
        nonlocal put
        writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        put += 1

    with _quiet(), _without_tags():
        codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix])
        writer = cv2.VideoWriter(str(path), codec, fps or USUAL_FPS, size[::-1])
    try:
        if not writer.isOpened():
            raise OSError(f"{path} cannot be written as a video of {size[1]} x {size[0]} pixels")
        yield write
    finally:
        writer.release()
    try:
        with _capture(path, upright=True) as capture:
            found = sum(1 for _ in iter(capture.grab, False))
    except ValueError:
        found = 0
    if found < put:  # OpenCV raises nothing where a disk is full
        raise OSError(f"only {found} of {put} frames of a video could be written, as on a full disk")
