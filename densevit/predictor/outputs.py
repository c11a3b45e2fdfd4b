"""Label maps of pictures as files: the label files' own values, class numbers, palette and overlay.

Legend: label (H, W) integers, image (H, W, 3) uint8, palette one (r, g, b) a class.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from densevit.files import replacing
from densevit.labels import Color, label_type, overlay
from densevit.predictor.inputs import Input, Opened
from densevit.predictor.labels import Stopwatch
from densevit.predictor.origin import Origin, origin_digest
from densevit.registry import check_known

MOST_IN_PNG = 2**16 - 1
MARK = "densevit"  # the PNG text that says what a file was made from
FORMATS = ("train_ids", "label_ids", "palette", "overlay")


@dataclass(frozen=True)
class Predicted:
    """An image with its label map (*S) of the values that label files hold."""

    opened: Opened
    label: np.ndarray
    origin: Origin = field(default_factory=dict)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


class Writer(Protocol):
    """Writes what was predicted of images of one kind: pictures, or scans."""

    def targets(self, source: Input) -> list[Path]:
        """All files that an input will have when it is done."""

    def is_done(self, source: Input, origin: Origin) -> bool:
        """Whether all of them are there, and were made from this very model, options and input."""

    def write(self, source: Input, predicted: Predicted) -> list[Path]:
        """Write them, each complete or not there; those by which reports name the result."""

    def finish(self, origin: Origin) -> None:
        """Write what is said together of all results that have this model and these options."""


@dataclass(frozen=True)
class PictureWriter:
    """PNGs of each format: NAME.png in `path`, or with several formats in a folder of its own for each.

    `values` are those of the classes in what is predicted, and `own` those in label files, where they are known.
    """

    path: Path
    formats: Sequence[str]
    palette: Sequence[Color]
    values: np.ndarray
    own: np.ndarray | None = None

    def targets(self, source: Input) -> list[Path]:
        folders = [self.path / name for name in self.formats] if len(self.formats) > 1 else [self.path]
        return [folder / f"{source.name}.png" for folder in folders]

    def is_done(self, source: Input, origin: Origin) -> bool:
        targets = zip(self.formats, self.targets(source), strict=True)
        return all(read_mark(path) == origin_digest(origin, format=name) for name, path in targets)

    def write(self, source: Input, predicted: Predicted) -> list[Path]:
        targets = self.targets(source)
        numbers = np.zeros(int(self.values.max()) + 1, label_type(len(self.values)))
        numbers[self.values] = np.arange(len(self.values))
        label = numbers[predicted.label]
        for name, path in zip(self.formats, targets, strict=True):
            pixels = to_rgb(predicted.opened.image) if name == "overlay" else None
            picture = render(name, pixels, label, palette=self.palette, own=self.own)
            write_png(picture, path, mark=origin_digest(predicted.origin, format=name))
        return targets

    def finish(self, origin: Origin) -> None:
        pass


def to_rgb(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> uint8 (H, W, 3) to look at: 8-bit colours as they are, others stretched to what is in between."""
    shown = image[:3] if len(image) >= 3 else image[[0] * 3]
    if image.dtype != np.uint8 or len(image) != 3:
        low, high = np.percentile(shown, (1, 99))
        shown = (shown.astype(np.float64) - low) * (255 / max(high - low, 1e-12))
    return np.ascontiguousarray(shown.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def own_values(classes: Sequence[str], label_values: Sequence[int] | None) -> np.ndarray | None:
    """What stands for each class in label files; None where that is unknown, and the classes are not Cityscapes'."""
    if label_values is not None:
        return np.array(label_values, np.min_scalar_type(max(label_values)))
    if tuple(classes) == _cityscapes().CLASSES:
        return np.array([*_cityscapes().TRAIN_ID_TO_LABEL_ID.values()], np.uint8)
    return None


def default_format(label_values: Sequence[int] | None) -> str:
    """As label files have it, where they have other values than the class numbers."""
    return "train_ids" if label_values is None else "label_ids"


def check_formats(formats: Sequence[str], *, classes: Sequence[str], own: np.ndarray | None) -> None:
    """Raise ValueError for an unknown format, or one that these classes cannot be written in; see `own_values`."""
    if not formats:
        raise ValueError(f"no output format was given; choose from {', '.join(FORMATS)}")
    for name in formats:
        check_known(name, FORMATS, what="no output format named")
    if "label_ids" in formats and own is None:
        raise ValueError(
            f"label_ids are Cityscapes' own numbers, or those of the label files that a checkpoint names, but this one "
            f"has {len(classes)} other classes and names none; choose train_ids, or name classes when converting"
        )
    if "label_ids" in formats and own.max() > MOST_IN_PNG:
        raise ValueError(f"a PNG holds values to {MOST_IN_PNG}, and the classes have up to {own.max()}; use train_ids")
    if "palette" in formats and len(classes) > 256:
        raise ValueError(f"a palette PNG holds 256 colours, this checkpoint has {len(classes)} classes; use train_ids")


def render(
    format_name: str,
    image: np.ndarray | None,
    label: np.ndarray,
    *,
    palette: Sequence[Color],
    own: np.ndarray | None = None,
) -> Image.Image:
    """Class numbers as the picture that is stored under a format's name; an overlay lies over `image`, label_ids are
    the `own` values of the classes."""
    if format_name == "overlay":
        return Image.fromarray(overlay(image, label, palette=palette))
    if format_name == "label_ids":
        return Image.fromarray(own[label])
    picture = Image.fromarray(label)
    if format_name == "palette":
        # All 256 entries: PIL packs pixels of shorter palettes into 1, 2 or 4 bits.
        table = np.zeros((256, 3), np.uint8)
        table[: len(palette)] = np.asarray(palette, np.uint8)
        picture.putpalette(table.tobytes())
    return picture


def write_png(picture: Image.Image, path: Path, *, mark: str | None = None) -> None:
    """Write beside the target, sync, rename: the file is either whole or not there. `mark` is a text kept within."""
    texts = PngInfo()
    if mark is not None:
        texts.add_text(MARK, mark)
    with replacing(path) as aside:
        picture.save(aside, format="PNG", pnginfo=texts)


def read_mark(path: Path) -> str | None:
    """The text that `write_png` kept in a file; None where there is none, or no such file."""
    try:
        with PngImageFile(path) as picture:  # which reads no pixels
            return picture.info.get(MARK)
    except (OSError, SyntaxError, ValueError):  # PIL's for what is no PNG is a SyntaxError
        return None


def _cityscapes() -> ModuleType:
    from densevit.data.layouts import cityscapes  # for label_ids alone

    return cityscapes
