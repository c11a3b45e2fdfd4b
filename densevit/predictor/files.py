"""Predict many images: files in, label maps out; one bad file is reported and skipped."""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from densevit.files import about_file, check_writable
from densevit.inference.memory import is_out_of_memory
from densevit.metrics.temporal import TemporalScores
from densevit.pictures.video import Video
from densevit.predictor.inputs import Input, Opened, Reader
from densevit.predictor.labels import Stopwatch
from densevit.predictor.outputs import Origin, Predicted, Writer, check_no_overwrite, input_digest
from densevit.predictor.overlap import overlapped
from densevit.predictor.picture_outputs import PictureWriter
from densevit.predictor.predictor import Predictor
from densevit.predictor.video_outputs import VideoWriter
from densevit.predictor.videos import SeenVideo, VideoReader, are_videos
from densevit.predictor.volume_outputs import ScanWriter
from densevit.progress import Bars
from densevit.quoting import printable, sentence

logger = logging.getLogger("densevit")


@dataclass
class PredictionReport:
    """What became of each input, by its (first) file: the files `written`, `resumed` (done before), or `failed` for a
    reason; and how steady the label maps of videos are."""

    written: dict[Path, list[Path]] = field(default_factory=dict)
    resumed: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    temporal: dict[Path, TemporalScores] = field(default_factory=dict)

    def add(self, path: Path, outcome: list[Path] | Exception) -> None:
        """Take down what was written of an input, or say why nothing was."""
        if isinstance(outcome, Exception):
            self.failed[path] = _reason(outcome, path)
            logger.error("skipped: %s", self.failed[path])
        else:
            self.written[path] = outcome


def predict(
    checkpoint: str | Path | Predictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    formats: Sequence[str] | None = None,
    recursive: bool = False,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
    dicom_seg: bool = False,
    preview: Callable[..., Any] | None = None,
    video: bool = False,
) -> PredictionReport:
    """Predict files, folders and globs of pictures, scans or videos, and write label maps below the folder `output`.

    Pictures become NAME.png: `formats` are any of "label_ids" (the values of the label files: the default where they
    are others than the class numbers), "train_ids" (class numbers; 16-bit above 255 classes), "palette" (class numbers
    with colours) and "overlay" (colours over the picture); several lie in a folder each. Scans become NAME.nii.gz on
    their own grid, with measures of every structure in NAME.json and, of all scans, in volumes.csv; `dicom_seg` adds
    NAME.dcm for DICOM series, `preview` (`densevit.report.preview.save_preview`) NAME.png. Videos become a folder NAME
    of such pictures, or for "overlay" NAME.webm, and NAME.json; a model of pictures sees them frame by frame where an
    input is a video file, or `video` says that folders are. Names are those of `find_paths` and `name_inputs`.

    `resume` leaves alone the inputs whose outputs all exist and say that they were made from the same model, options
    and files; all others, and without it all, are made anew. `share` is the number of this process and how many divide
    the inputs. For other inference settings than the checkpoint's own, give a `Predictor` in its place.

    An input that cannot be read, predicted or written is logged as an error, listed in the report and skipped. OSError
    for inputs that do not exist and an output that takes no files, ValueError where outputs would overwrite something.
    """
    output = Path(output)
    check_writable(output)
    predictor = checkpoint if isinstance(checkpoint, Predictor) else Predictor(checkpoint, device=device)
    inputs, bars = [inputs] if isinstance(inputs, str | Path) else list(inputs), Bars(enabled=progress and not share[0])
    asked = dict(formats=formats, dicom_seg=dicom_seg, preview=preview, video=video, bars=bars)
    steps = _create_steps(predictor, inputs, output, **asked)
    sources, writer = steps.reader.find(inputs, recursive=recursive, exclude=output), steps.writer
    check_no_overwrite((path for each in sources for path in writer.targets(each)), [each.path for each in sources])
    sources = sources[share[0] :: share[1]]
    done = steps.find_done(sources) if resume else []
    names = {each.name for each in done}
    waiting = [each for each in sources if each.name not in names]
    report = PredictionReport(resumed=[each.path for each in done])
    with bars:
        bars.show("predict", len(done), len(sources))
        outcomes = overlapped(waiting, read=steps.read, work=steps.label, write=steps.write, expected=_is_of_one_input)
        for count, (source, outcome) in enumerate(outcomes, start=len(done) + 1):
            report.add(source.path, outcome)
            bars.show("predict", count, len(sources))
    writer.finish(steps.origin)
    report.temporal = writer.scores if isinstance(writer, VideoWriter) else {}
    return report


def _create_steps(
    predictor: Predictor,
    inputs: Sequence[str | Path],
    output: Path,
    *,
    formats: Sequence[str] | None,
    dicom_seg: bool,
    preview: Callable[..., Any] | None,
    video: bool,
    bars: Bars,
) -> "_Steps":
    """What is done with the images that a header is about, or with videos; ValueError for what is not done with those.

    `bars` show the frames of videos.
    """
    header, origin = predictor.header, predictor.origin
    if header.is_of_volumes and not video:
        if formats is not None:
            raise ValueError("formats are for pictures, and this is a checkpoint of volumes; leave them out")
        writer = ScanWriter(output, header.classes, header.values, dicom_seg=dicom_seg, preview=preview)
        return _Steps(predictor, predictor.reader, writer, origin)
    of_videos = are_videos(inputs, header, asked=video)
    for name, asked in (("dicom_seg", dicom_seg), ("preview", preview is not None)):
        if asked:
            kind = "pictures" if header.clips is None else "clips"
            raise ValueError(f"{name} is for scans, and this is a checkpoint of {kind}; leave it out")
    names = dict.fromkeys([formats] if formats is None or isinstance(formats, str) else formats)
    folders = {name: output / name if len(names) > 1 else output for name in names}
    if of_videos:
        writer = VideoWriter(output, folders, header, on_frame=partial(bars.show, "frames"))
        return _VideoSteps(predictor, VideoReader(header), writer, origin)
    return _Steps(predictor, predictor.reader, PictureWriter(folders, header, values=header.values), origin)


@dataclass(frozen=True)
class _Steps:
    """What is done with one input."""

    predictor: Predictor
    reader: Reader
    writer: Writer
    origin: Origin

    def find_done(self, sources: Sequence[Input]) -> list[Input]:
        """The inputs whose results are of this very model, these options and these files; others are warned of."""
        there = [each for each in sources if all(path.exists() for path in self.writer.targets(each))]
        done = [each for each in there if self.writer.is_done(each, self._origin_of(each))]
        if len(done) < len(there):
            logger.warning(
                "%d of %d results that are there were made from another model, other options or another file, or do "
                "not say from what; they are made anew",
                len(there) - len(done),
                len(there),
            )
        return done

    def read(self, source: Input) -> tuple[Opened, np.ndarray, Origin, Stopwatch]:
        """The image, and what the network sees of it; what an earlier run made of it goes."""
        self.writer.forget(source)
        stopwatch = Stopwatch()
        with stopwatch.measure("load"), about_file(source.path):
            origin = self._origin_of(source)  # before: what changes meanwhile is not done
            opened = self.reader.open(source.source)
        with stopwatch.measure("prepare"), about_file(source.path):
            return opened, self.reader.prepare(opened), origin, stopwatch

    def label(self, source: Input, ready: tuple[Opened, np.ndarray, Origin, Stopwatch]) -> Predicted:
        opened, image, origin, stopwatch = ready
        size = opened.image.shape[1:]
        logger.info("%s: %s, seen as %s", source.path, size, image.shape[1:])
        return Predicted(opened, self.predictor.label_prepared(image, size, stopwatch=stopwatch), origin, stopwatch)

    def write(self, source: Input, predicted: Predicted) -> list[Path]:
        with about_file(source.path, verb="written as predicted"):
            return self.writer.write(source, predicted)

    def _origin_of(self, source: Input) -> Origin:
        return {**self.origin, "input": input_digest(source.paths)}


class _VideoSteps(_Steps):
    """Labels of a video are written as its frames become final; nothing is left for `write`."""

    def label(self, source: Input, ready: tuple[Video, SeenVideo, Origin, Stopwatch]) -> list[Path]:
        opened, video, origin, stopwatch = ready
        with self.writer.taking(source, opened, origin=origin, stopwatch=stopwatch) as out:
            self.predictor.label_frames(video, out, stopwatch=stopwatch)
        return self.writer.targets(source)

    def write(self, source: Input, predicted: list[Path]) -> list[Path]:
        return predicted


def _is_of_one_input(error: Exception) -> bool:
    """Whether an error says something about one input, so that the others go on."""
    return isinstance(error, OSError | ValueError) or is_out_of_memory(error)


def _reason(error: Exception, path: Path) -> str:
    """One line that names the file."""
    text, name = str(error), printable(path)
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    text = sentence(text)
    if is_out_of_memory(error):
        return f"{name}: not enough memory ({text}); mode 'slide' with a smaller roi_size, or max_memory, takes less"
    return text if name in text else f"{name}: {text}"
