"""Pairs of photo and label file as a data set: `dataset[i]` is an image, its train ids and where they come from."""

from collections.abc import Mapping, Sequence

import numpy as np

from densevit.colors import Color, default_palette
from densevit.labels import IGNORE
from densevit.pictures.coding import LabelCoding
from densevit.pictures.normalize import MEAN, STD
from densevit.pictures.picture import View
from densevit.pictures.reading import read_oriented_image, read_oriented_label, turn_back
from densevit.registry import Registry

DATASETS = Registry("dataset")
EXIF_MODES = (None, "apply", "ignore")
Pair = tuple[str, str | None]


class SegmentationDataset:
    """Images with one label map each; `files` are (image, label) paths, label None where there is none.

    `coding` says what label values mean: one LabelCoding, or several by the ending of the file's name. `exif` says
    what to do with a photo that carries an EXIF turn while its label does not: None refuses it where the label's size
    leaves open how it was drawn, "apply" takes labels as drawn on the upright photo, "ignore" leaves both as stored.
    """

    ignore_index = IGNORE
    spatial_dims = 2
    in_channels = 3

    def __init__(
        self,
        files: Sequence[Pair],
        *,
        classes: Sequence[str],
        coding: LabelCoding | Mapping[str, LabelCoding],
        palette: Sequence[Color] | None = None,
        exif: str | None = None,
    ):
        if exif not in EXIF_MODES:
            raise ValueError(f"exif must be None, 'apply' or 'ignore', got {exif!r}")
        self.files = list(files)
        self.classes = check_classes(classes)
        self.palette = [tuple(color) for color in palette or default_palette(len(self.classes))]
        if len(self.palette) != len(self.classes):
            raise ValueError(
                f"the palette has {len(self.palette)} colours for {len(self.classes)} classes; give one for each"
            )
        self.codings = dict(coding) if isinstance(coding, Mapping) else {"": coding}
        self.exif = exif

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def normalization(self) -> dict:
        """How pixels become the network's input, for the header of a checkpoint."""
        return dict(mean=list(MEAN), std=list(STD))

    @property
    def has_labels(self) -> bool:
        return all(label is not None for _, label in self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        """dict(image=uint8 (H, W, 3), label=uint8 (H, W) of train ids and 255, meta); no label key without a label."""
        image_path, label_path = self.files[index]
        image, turned = read_oriented_image(image_path)
        meta = dict(image=image_path, label=label_path)
        if label_path is None:
            image = turn_back(image, turned) if self.exif == "ignore" else image
            return dict(image=image, meta=dict(meta, size=image.shape[:2]))
        label, label_turned = self.read_label(label_path)
        self.check_fit(self.files[index], image=(image.shape[:2], turned), label=(label.shape, label_turned))
        if self.exif == "ignore":
            image, label = turn_back(image, turned), turn_back(label, label_turned)
        return dict(image=image, label=label, meta=dict(meta, size=image.shape[:2]))

    def evaluation_sample(self, index: int) -> dict:
        """The same: pictures are scored as they are read. Volumes differ, see `VolumeDataset`."""
        return self[index]

    def check_fit(self, pair: Pair, *, image: View, label: View) -> None:
        """Raise ValueError where a label has another size than its image, or may be drawn on another view of it."""
        (size, turned), (label_size, label_turned) = image, label
        if self.exif == "ignore":
            size, label_size = _stored(size, turned), _stored(label_size, label_turned)
        elif self.exif is None and turned != 1 and label_turned == 1 and label_size == _stored(size, turned):
            raise ValueError(_undecided(pair, turned=turned, told_by_size=label_size != size))
        if size != label_size:
            raise ValueError(
                f"{pair[1]} is {label_size[1]} x {label_size[0]} and its image {pair[0]} is {size[1]} x {size[0]}; "
                "a label needs the size of its image"
            )

    def read_label(self, path: str) -> tuple[np.ndarray, int]:
        """Train ids uint8 (H, W) of a label file, upright, and the EXIF orientation that was applied."""
        coding = self.coding_of(path)
        values, orientation = read_oriented_label(path, color_map=coding.color_map)
        return coding.decode(values, path=path), orientation

    def coding_of(self, path: str) -> LabelCoding:
        """The coding of a label file, by the ending of its name."""
        return next(coding for ending, coding in self.codings.items() if path.endswith(ending))


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple; none, an empty or a repeated name raises ValueError."""
    listed = isinstance(classes, list | tuple) and len(classes) > 0
    if not listed or not all(isinstance(name, str) and name.strip() for name in classes):
        raise ValueError(f"classes must be a list of names, got {classes!r}")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise ValueError(f"the classes name {', '.join(twice)} more than once; each name may appear once")
    return tuple(classes)


def _stored(size: tuple[int, int], turned: int) -> tuple[int, int]:
    return size[::-1] if turned >= 5 else size


def _undecided(pair: Pair, *, turned: int, told_by_size: bool) -> str:
    """The sentence for a label without EXIF tag that seems drawn, or may be drawn, on the stored pixels."""
    says = f"{pair[0]} is turned by its EXIF orientation ({turned}) and its label {pair[1]} is not"
    if told_by_size:
        return f"{says}: turn the label, or set exif='ignore' to use both as they are stored"
    return (
        f"{says}, and their sizes do not tell which view the label was drawn on: "
        "set exif='apply' if on the upright view, exif='ignore' if on the stored pixels"
    )
