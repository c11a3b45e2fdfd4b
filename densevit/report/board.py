"""The pictures that a run drew while it was validated, taken back from its TensorBoard folder."""

import logging
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from densevit.files import about_file

logger = logging.getLogger("densevit")

Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # image, truth, prediction, each (H, W, 3) uint8
DRAWN = re.compile(r"val_(\d+)")  # names of pictures


def board_pictures(folder: Path, *, iteration: int | None) -> dict[str, Triple]:
    """Name -> image, truth and prediction of the validation at an iteration; else, by None, of the last one.

    A file that is damaged is left out with a warning, one that was cut off is read up to there.
    """
    found: dict[int, dict[str, bytes]] = {}
    for path in sorted(folder.glob("*tfevents*")):
        try:
            for step, name, content in _read_events(path):
                found.setdefault(step, {})[name] = content
        except (ValueError, OSError) as error:
            logger.warning("shown without the pictures in it: %s", error)
    chosen = found.get(max(found, default=0) if iteration is None else iteration, {})
    drawn = {name: _split(content) for name, content in sorted(chosen.items())}
    return {name: triple for name, triple in drawn.items() if triple is not None}


def save_pictures(triples: Mapping[str, Triple], folder: Path) -> list[Path]:
    """Write each as a PNG, image, truth and prediction side by side; their paths. No folder is made for none."""
    paths = []
    for number, triple in enumerate(triples.values(), 1):
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"validation_{number}.png")
        Image.fromarray(np.concatenate(triple, axis=1)).save(paths[-1])
    return paths


def _read_events(path: Path) -> list[tuple[int, str, bytes]]:
    """(step, name, PNG file) of each picture."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    found = []
    with about_file(path):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                drawn = DRAWN.fullmatch(value.tag)
                if drawn and len(value.tensor.string_val) > 2:  # its width, its height, itself
                    found.append((event.step, f"validation image {int(drawn[1]) + 1}", value.tensor.string_val[2]))
    return found


def _split(content: bytes) -> Triple | None:
    """Three pictures of one size that stand side by side; None for what is no such picture."""
    try:
        picture = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    width = picture.shape[1] // 3
    image, truth, prediction = (picture[:, i * width : (i + 1) * width] for i in range(3))
    return (image, truth, prediction) if 3 * width == picture.shape[1] else None
