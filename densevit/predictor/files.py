"""Predict files: pictures in, PNGs out, one bad file reported and skipped."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from densevit.files import check_writable
from densevit.inference.memory import is_out_of_memory
from densevit.pictures.reading import read_image
from densevit.predictor.inputs import Picture, check_names, find_pictures
from densevit.predictor.outputs import check_formats, render, write_png
from densevit.predictor.predictor import Predictor
from densevit.progress import Bars

logger = logging.getLogger("densevit")


@dataclass
class PredictionReport:
    """What became of each picture: the files `written`, `resumed` (done before), or `failed` for a reason."""

    written: dict[Path, list[Path]] = field(default_factory=dict)
    resumed: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


def predict(
    checkpoint: str | Path | Predictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    formats: Sequence[str] = ("train_ids",),
    recursive: bool = False,
    resume: bool = False,
    device: str | torch.device = "cpu",
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
) -> PredictionReport:
    """Predict image files, folders and globs, and write PNGs below the folder `output`.

    `formats` are any of "train_ids" (class numbers; 16-bit above 255 classes), "label_ids" (for the Cityscapes
    server), "palette" (class numbers with colours) and "overlay" (colours over the picture). Outputs keep an input's
    path below the folder it was found in: data/a/b.jpg, found in data, becomes output/a/b.png, or with several
    formats output/<format>/a/b.png; a photo with an EXIF turn gives an upright one. `resume` leaves alone the pictures
    whose outputs all exist; without it they are made anew. Several processes divide the pictures among them: `share` is
    the number of this one and how many there are. For other inference settings than the checkpoint's own,
    give a `Predictor` in its place.

    A picture that cannot be read or predicted is logged as an error, listed in the report and skipped. Raises
    FileNotFoundError for inputs that do not exist and ValueError for outputs that would overwrite one another.
    """
    output, formats = Path(output), (formats,) if isinstance(formats, str) else tuple(formats)
    pictures = find_pictures(inputs, recursive=recursive, exclude=output)
    check_names(pictures)
    written = (path for picture in pictures for path in targets(output, picture, formats).values())
    check_no_overwrite(written, [picture.path for picture in pictures])
    check_writable(output)
    rank, size = share
    pictures = pictures[rank::size]
    predictor = checkpoint if isinstance(checkpoint, Predictor) else Predictor(checkpoint, device=device)
    check_formats(formats, classes=predictor.classes)
    done = {p.path for p in pictures if resume and all(t.is_file() for t in targets(output, p, formats).values())}
    report = PredictionReport(resumed=[picture.path for picture in pictures if picture.path in done])
    with Bars(enabled=progress) as bars:
        bars.show("predict", len(done), len(pictures))
        waiting = [picture for picture in pictures if picture.path not in done]
        for count, (picture, reading) in enumerate(_read_ahead(waiting), start=len(done) + 1):
            _predict_one(predictor, picture, reading, targets(output, picture, formats), report)
            bars.show("predict", count, len(pictures))
    return report


def targets(output: Path, picture: Picture, formats: Sequence[str]) -> dict[str, Path]:
    """Where each format of a picture goes: one folder a format when there are several."""
    file_name = picture.name.with_name(f"{picture.name.name}.png")
    return {name: (output / name if len(formats) > 1 else output) / file_name for name in formats}


def _predict_one(
    predictor: Predictor,
    picture: Picture,
    reading: "Future[np.ndarray]",
    paths: dict[str, Path],
    report: PredictionReport,
) -> None:
    try:
        image = reading.result()
        label = predictor.label(image)
    except (OSError, ValueError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not is_out_of_memory(error):
            raise
        reason = _reason(error, picture.path)
        logger.error("skipped: %s", reason)
        report.failed[picture.path] = reason
        return
    for name, path in paths.items():
        write_png(render(name, image, label, palette=predictor.header.palette), path)
    report.written[picture.path] = list(paths.values())


def _reason(error: Exception, path: Path) -> str:
    """One line that names the file."""
    if is_out_of_memory(error):
        return f"{path}: not enough memory for a picture of this size; predict it by mode 'slide' or a smaller roi_size"
    text, name = (" ".join(str(thing).split()) for thing in (error, path))
    return text if name in text else f"{name}: {text}"


def _read_ahead(pictures: Sequence[Picture]) -> "Iterator[tuple[Picture, Future[np.ndarray]]]":
    """Each picture with its pixels in the making; while one is worked on, a thread reads the next."""
    with ThreadPoolExecutor(1) as pool:
        following = [pool.submit(read_image, picture.path) for picture in pictures[:1]]
        for i, picture in enumerate(pictures):
            reading = following.pop()
            following = [pool.submit(read_image, after.path) for after in pictures[i + 1 : i + 2]]
            yield picture, reading


def check_no_overwrite(written: Iterable[Path], read: Iterable[str | Path]) -> None:
    """Raise ValueError where a file that is `written` would take the place of one that is `read`."""
    taken = {Path(path).resolve() for path in read}
    for path in written:
        if path.resolve() in taken:
            raise ValueError(f"a prediction would overwrite {path}, which is read from; give another output folder")
