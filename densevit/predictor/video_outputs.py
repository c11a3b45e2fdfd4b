"""What is written of a predicted video: a label map of each frame, an overlay video, and how steady the maps are."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from densevit.checkpoint import Header
from densevit.files import remove_folder, replacing, write_text
from densevit.labels import label_type
from densevit.metrics.temporal import NOWHERE, TemporalConsistency, TemporalScores
from densevit.pictures.video import Video
from densevit.predictor.inputs import Input
from densevit.predictor.labels import Stopwatch
from densevit.predictor.outputs import Origin, is_same
from densevit.predictor.picture_outputs import PictureWriter, to_rgb

OnFrame = Callable[[int, int], None]  # (done, total)
Take = Callable[[int, np.ndarray, np.ndarray], None]  # number of a frame, its pixels, its class numbers


class FrameSink:
    """Stores like an array (T, H, W) of class numbers, which come in order, and hands each frame's on: `take(number,
    labels (H, W))`.
    """

    def __init__(self, shape: Sequence[int], *, num_classes: int, take: Callable[[int, np.ndarray], None]):
        self.shape, self.dtype = tuple(shape), label_type(num_classes)
        self.take, self.done = take, 0

    def __setitem__(self, index: Any, labels: np.ndarray) -> None:
        for label in labels:
            self.take(self.done, label.astype(self.dtype, copy=False))
            self.done += 1


class Steadiness:
    """Called with each frame (H, W, 3) and its class numbers (H, W), in order: counts for `TemporalConsistency`."""

    def __init__(self, num_classes: int):
        self.counts = TemporalConsistency(num_classes)
        self.before: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, frame: np.ndarray, label: np.ndarray) -> None:
        from densevit.pictures.flow import find_motion, move_label, stands_still  # which brings OpenCV

        if self.before is not None:
            earlier, label_before = self.before
            moved = move_label(label_before, find_motion(frame, earlier), nowhere=NOWHERE)
            self.counts.update(label, label_before, still=stands_still(frame, earlier), moved=moved)
        self.before = frame, label


class VideoWriter:
    """For each format a folder NAME with a PNG a frame, or for "overlay" NAME.webm; and NAME.json beside them.

    Frames are written as they become final. `scores` are of the videos that were written, by their paths.
    """

    def __init__(
        self, path: Path, folders: Mapping[str | None, Path], header: Header, *, on_frame: OnFrame | None = None
    ):
        self.path, self.header, self.on_frame = path, header, on_frame
        self.pictures = PictureWriter(folders, header)
        self.scores: dict[Path, TemporalScores] = {}

    def targets(self, source: Input) -> list[Path]:
        """A folder or a file for each format; what says how they were made comes last."""
        endings = {name: ".webm" if name == "overlay" else "" for name in self.pictures.folders}
        written = [folder / f"{source.name}{endings[name]}" for name, folder in self.pictures.folders.items()]
        return [*written, self.path / f"{source.name}.json"]

    def is_done(self, source: Input, origin: Origin) -> bool:
        *written, statistics = self.targets(source)
        said = _read(statistics)
        here = {path.relative_to(self.path).as_posix() for path in written}
        whole = all(len([*path.glob("*.png")]) == said.get("frames") for path in written if path.is_dir())
        return whole and is_same(said.get("origin"), origin) and here <= {*said["files"]}

    def forget(self, source: Input) -> None:
        *written, statistics = self.targets(source)
        for path in written if _read(statistics) else []:
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink(missing_ok=True)
        statistics.unlink(missing_ok=True)

    @contextmanager
    def taking(self, source: Input, video: Video, *, origin: Origin, stopwatch: Stopwatch) -> Iterator[FrameSink]:
        """Within the block, what takes the class numbers of all frames; at its end results are complete or absent."""
        *targets, statistics = self.targets(source)
        steady, total = Steadiness(len(self.header.classes)), video.image.shape[1]
        with ExitStack() as files:
            asides = [files.enter_context(replacing(path)) for path in targets]
            named = zip(self.pictures.folders, asides, strict=True)
            writes, frames = [self._open(name, aside, video, files) for name, aside in named], video.image.again()

            def take(number: int, label: np.ndarray) -> None:
                frame = to_rgb(frames[:, number : number + 1][:, 0])
                for write in writes:
                    write(number, frame, label)
                steady(frame, label)
                if self.on_frame is not None:
                    self.on_frame(number + 1, total)

            yield FrameSink(video.image.shape[1:], num_classes=len(self.header.classes), take=take)
        self.scores[source.path] = scores = steady.counts.compute()
        content = dict(
            video=str(source.path),
            origin=origin,
            files=[path.relative_to(self.path).as_posix() for path in self.targets(source)[:-1]],
            frames=total,
            fps=video.fps,
            labels=dict(zip(map(str, self.header.values.tolist()), self.header.classes, strict=True)),
            temporal={name: None if isnan(share) else share for name, share in vars(scores).items()},
            seconds={part: round(seconds, 4) for part, seconds in stopwatch.seconds.items()},
        )
        write_text(statistics, json.dumps(content, indent=1))

    def finish(self, origin: Origin) -> None:
        pass

    def _open(self, name: str, path: Path, video: Video, files: ExitStack) -> Take:
        """What writes one frame after another under a format's name: number, (H, W, 3), class numbers (H, W)."""
        from densevit.pictures.video_file import writing_video

        if name == "overlay":
            put = files.enter_context(writing_video(path, size=video.image.shape[2:], fps=video.fps))
        else:
            path.mkdir()

        def write(number: int, frame: np.ndarray, label: np.ndarray) -> None:
            picture = self.pictures.render(name, frame.transpose(2, 0, 1), label)
            if name == "overlay":
                put(np.asarray(picture))
            else:
                picture.save(path / f"{video.names[number]}.png")

        return write


def _read(path: Path) -> dict[str, Any]:
    """What an earlier run said of a video; empty where there is nothing, or a file of something else."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) and "temporal" in said and isinstance(said.get("files"), list) else {}
