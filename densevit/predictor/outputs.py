"""Label maps as files: train ids, label ids, palette and overlay.

Legend: label (H, W) integers, image (H, W, 3) uint8, palette one (r, g, b) a class.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from densevit.colors import Color, overlay
from densevit.data.layouts import cityscapes
from densevit.files import replacing
from densevit.registry import check_known

FORMATS = ("train_ids", "label_ids", "palette", "overlay")


def check_formats(formats: Sequence[str], *, classes: Sequence[str]) -> None:
    """Raise ValueError for an unknown format, or one that these classes cannot be written in."""
    if not formats:
        raise ValueError(f"no output format was given; choose from {', '.join(FORMATS)}")
    for name in formats:
        check_known(name, FORMATS, what="no output format named")
    if "label_ids" in formats and tuple(classes) != tuple(cityscapes.CLASSES):
        raise ValueError(
            f"label_ids are Cityscapes' own numbers, but this checkpoint has {len(classes)} other classes; "
            "choose train_ids"
        )
    if "palette" in formats and len(classes) > 256:
        raise ValueError(f"a palette PNG holds 256 colours, this checkpoint has {len(classes)} classes; use train_ids")


def render(format_name: str, image: np.ndarray, label: np.ndarray, *, palette: Sequence[Color]) -> Image.Image:
    """One label map as the picture that is stored under that format's name."""
    if format_name == "overlay":
        return Image.fromarray(overlay(image, label, palette=palette))
    if format_name == "label_ids":
        return Image.fromarray(_label_id_table()[label])
    picture = Image.fromarray(label)
    if format_name == "palette":
        # All 256 entries: PIL packs pixels of shorter palettes into 1, 2 or 4 bits.
        table = np.zeros((256, 3), np.uint8)
        table[: len(palette)] = np.asarray(palette, np.uint8)
        picture.putpalette(table.tobytes())
    return picture


def write_png(picture: Image.Image, path: Path) -> None:
    """Write beside the target, sync, rename: the file is either whole or not there."""
    with replacing(path) as aside:
        picture.save(aside, format="PNG")


def _label_id_table() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for train_id, label_id in dict(cityscapes.TRAIN_ID_TO_LABEL_ID).items():
        if 0 <= train_id < len(cityscapes.CLASSES):
            table[train_id] = label_id
    return table
