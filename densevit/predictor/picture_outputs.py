"""Label maps of pictures as PNGs: the label files' own values, class numbers, palette and overlay.

Legend: label (H, W) integers, image (H, W, 3) uint8, palette one (r, g, b) a class.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo
from torch import Tensor

from densevit.checkpoint import Header
from densevit.files import check_writable, replacing
from densevit.labels import label_type, overlay
from densevit.predictor.inputs import Input, name_inputs
from densevit.predictor.outputs import Origin, Predicted, check_no_overwrite, origin_digest
from densevit.predictor.pictures import Picture
from densevit.registry import check_known

if TYPE_CHECKING:
    from densevit.data import Dataset, Sample

MOST_IN_PNG = 2**16 - 1
MARK = "densevit"  # the PNG text that says what a file was made from
FORMATS = ("train_ids", "label_ids", "palette", "overlay")


class PictureWriter:
    """NAME.png in the folder of each format, for the classes of a header or of a data set.

    A format that is None is as label files have it: "label_ids" where their values are others than the class numbers,
    else "train_ids". `values` (K,) are those of the classes in what is predicted, the class numbers by default.
    ValueError for formats that these classes cannot be written in.
    """

    def __init__(
        self, folders: Mapping[str | None, Path], about: "Header | Dataset", *, values: Sequence[int] | None = None
    ):
        default = "train_ids" if about.label_values is None else "label_ids"
        self.folders = {name or default: folder for name, folder in folders.items()}
        self.palette = about.palette
        self.own = own_values(about.classes, about.label_values)
        self._check_formats(len(about.classes))
        values = np.arange(len(about.classes)) if values is None else np.asarray(values)
        self.numbers = np.zeros(int(values.max()) + 1, label_type(len(values)))  # of the classes, by their values
        self.numbers[values] = np.arange(len(values))

    def targets(self, source: Input) -> list[Path]:
        return [folder / f"{source.name}.png" for folder in self.folders.values()]

    def is_done(self, source: Input, origin: Origin) -> bool:
        targets = zip(self.folders, self.targets(source), strict=True)
        return all(read_mark(path) == origin_digest(origin, format=name) for name, path in targets)

    def forget(self, source: Input) -> None:
        for path in self.targets(source):
            if read_mark(path) is not None:
                path.unlink()

    def write(self, source: Input, predicted: Predicted) -> list[Path]:
        targets = self.targets(source)
        label = self.numbers[predicted.label]
        for name, path in zip(self.folders, targets, strict=True):
            mark = origin_digest(predicted.origin, format=name) if predicted.origin else None
            write_png(self.render(name, predicted.opened.image, label), path, mark=mark)
        return targets

    def finish(self, origin: Origin) -> None:
        pass

    def render(self, name: str, image: np.ndarray, label: np.ndarray) -> Image.Image:
        """Class numbers as the picture that is stored under a format's name; `image` is (C, H, W)."""
        if name == "overlay":
            return Image.fromarray(overlay(to_rgb(image), label, palette=self.palette))
        if name == "label_ids":
            return Image.fromarray(self.own[label])
        picture = Image.fromarray(label)
        if name == "palette":
            # All 256 entries: PIL packs pixels of shorter palettes into 1, 2 or 4 bits.
            table = np.zeros((256, 3), np.uint8)
            table[: len(self.palette)] = np.asarray(self.palette, np.uint8)
            picture.putpalette(table.tobytes())
        return picture

    def _check_formats(self, num_classes: int) -> None:
        if not self.folders:
            raise ValueError(f"no output format was given; choose from {', '.join(FORMATS)}")
        for name in self.folders:
            check_known(name, FORMATS, what="no output format named")
        if "label_ids" in self.folders and self.own is None:
            raise ValueError(
                "label_ids are Cityscapes' own numbers, or those of the label files that a checkpoint names, but this "
                f"one has {num_classes} other classes and names none; choose train_ids, or name classes when converting"
            )
        if "label_ids" in self.folders and self.own.max() > MOST_IN_PNG:
            most = self.own.max()
            raise ValueError(f"a PNG holds values to {MOST_IN_PNG}, and the classes have up to {most}; use train_ids")
        if "palette" in self.folders and num_classes > 256:
            raise ValueError(
                f"a palette PNG holds 256 colours, this checkpoint has {num_classes} classes; use train_ids"
            )


class PredictionWriter:
    """Called with a sample of a data set and its prediction (H, W), writes the PNGs of each format to its folder.

    Names are the images' paths below the folder that holds them all: frankfurt/frankfurt_000000_000294_leftImg8bit.png.
    """

    def __init__(self, dataset: "Dataset", folders: Mapping[str | None, str | Path]):
        if getattr(dataset, "clips", None) is not None:
            raise ValueError("this set holds videos, whose label maps densevit predict writes; score it without --out")
        if dataset.has_cases:
            raise ValueError("predictions are written as pictures, and this set holds volumes; score it without --out")
        self.dataset = dataset
        self.writer = PictureWriter({name: Path(folder) for name, folder in folders.items()}, dataset)
        images = [Path(image) for image in dataset.names]
        root = Path(os.path.commonpath([image.parent for image in images]))
        inputs = name_inputs([(image.with_suffix(""), root, (image,)) for image in images], ending=".png")
        self.inputs = {str(each.path): each for each in inputs}
        check_no_overwrite((path for each in inputs for path in self.writer.targets(each)), dataset.files)
        for folder in self.writer.folders.values():
            check_writable(folder)

    def __call__(self, sample: "Sample", prediction: Tensor) -> None:
        picture = Picture(self.dataset.shown(sample, prediction).image.transpose(2, 0, 1))
        self.writer.write(self.inputs[str(sample.meta["image"])], Predicted(picture, prediction.cpu().numpy()))


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
    from densevit.data.layouts import cityscapes

    known = tuple(classes) == cityscapes.CLASSES
    return np.array([*cityscapes.TRAIN_ID_TO_LABEL_ID.values()], np.uint8) if known else None


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
