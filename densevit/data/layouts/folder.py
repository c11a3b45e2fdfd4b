"""Any folder of images with a folder of label maps beside it, and a classes file; CamVid is one."""

from collections.abc import Callable
from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import ClassVar

from densevit.data.dataset import DATASETS
from densevit.data.layouts import pairing
from densevit.data.layouts.classes import ClassesFile, find_classes
from densevit.data.picture_set import PictureDataset
from densevit.labels import IGNORE
from densevit.pictures.coding import LabelCoding, class_index, parse_color_map


@DATASETS.register({"folder": {}})
@dataclass(frozen=True, kw_only=True)
class Folder:
    """Images and labels of one name; everything but `root` may stay as it is for images/<split>, labels/<split>.

    images, labels, split_file: paths below root; {split} stands for the split; labels=None leaves the labels out.
    classes: names, or a .json or .txt file; classes.json or classes.txt in root otherwise. What a classes file says
        about palette, color_map, label_map, ignore_index and reduce_zero_label holds unless it is said here.
    split_file: one name a line (with or without suffix and ending), or one image and one label path below root.
    val_every: for sets that are not split: every n-th image belongs to split "val", the others to "train".
    color_map: labels are colour-coded; see `densevit.pictures.coding.parse_color_map`.
    label_map: {file value: class}, 255 to ignore; reduce_zero_label: 0 is no class and classes count from 1.
    ignore_index: the ignored value in the files (255), or "none"; it is 255 in what is read, whatever the files have.
    image_suffix, label_suffix: what follows the shared name, with ("_gt.png") or without ending ("_gt").
    in_channels: of the images: 3 for photos, 1 for grey ones, more for TIFF and .npy files of several bands.
    exif, normalization: see `PictureDataset`.
    """

    root: str
    split: str = "train"
    images: str = "images/{split}"
    labels: str | None = "labels/{split}"
    classes: str | list | tuple | None = None
    split_file: str | None = None
    val_every: int = 0
    color_map: dict | list | tuple | None = None
    label_map: dict | None = None
    reduce_zero_label: bool | None = None
    ignore_index: int | str | None = None
    image_suffix: str = ""
    label_suffix: str = ""
    exif: str | None = None
    in_channels: int = 3
    normalization: dict | None = None
    kind: ClassVar[Callable[..., PictureDataset]] = PictureDataset  # of (files, classes=..., coding=..., ...)

    def open(self) -> PictureDataset:
        root = pairing.check_root(self.root)
        said = find_classes(self.classes, root=root)
        try:
            coding = self._coding(said)
        except ValueError as error:
            own = any(
                k is not None for k in (self.color_map, self.label_map, self.reduce_zero_label, self.ignore_index)
            )
            where = "" if said.path is None else f"{said.path}{' and the keys of the set' if own else ''}: "
            raise ValueError(f"{where}{error}") from None
        files = self._files(root)
        if not files:
            raise ValueError(f"split {self.split!r} of {root} holds no images; see {root / self._here(self.images)}")
        palette = said.palette
        if palette is None and coding.color_map:
            of_class = {index: color for color, index in reversed(coding.color_map.items())}
            palette = [of_class.get(index) for index in range(coding.num_classes)]
        return self.kind(
            files,
            classes=said.classes,
            palette=None if palette is None or None in palette else palette,
            coding=coding,
            exif=self.exif,
            in_channels=self.in_channels,
            normalization=self.normalization,
        )

    def _coding(self, said: ClassesFile) -> LabelCoding:
        colors = said.color_map if self.color_map is None else self.color_map
        values = (said.label_map if self.label_map is None else self.label_map) or {}
        zero = said.reduce_zero_label if self.reduce_zero_label is None else self.reduce_zero_label
        ignore = next((i for i in (self.ignore_index, said.ignore_index) if i is not None), IGNORE)
        for key, value in (("ignore_index", ignore), *(("a value in label_map", value) for value in values)):
            if not str(value).isdecimal() and (key, value) != ("ignore_index", "none"):
                raise ValueError(f"{key} must be a number that label files hold, got {value!r}")
        return LabelCoding(
            num_classes=len(said.classes),
            ignore_value=None if ignore == "none" else int(ignore),
            reduce_zero_label=bool(zero),
            label_map={
                int(value): class_index(name, classes=said.classes, key="label_map") for value, name in values.items()
            },
            color_map=None if colors is None else parse_color_map(colors, classes=said.classes),
        )

    def _here(self, path: str) -> str:
        return str(path).replace("{split}", self.split)

    def _files(self, root: Path) -> list[pairing.Pair]:
        rows = []
        if self.split_file is not None:
            split_file = root / self._here(self.split_file)
            rows = pairing.read_split_file(split_file)
            if any(len(row) == 2 for row in rows):
                return self._listed(root, rows, split_file=split_file)
        found = images = pairing.list_pictures(
            pairing.check_folder(root, self._here(self.images), key="images"), suffix=self.image_suffix
        )
        if rows:
            images = pairing.select(images, [row[0] for row in rows], suffix=self.image_suffix, split_file=split_file)
        if self.val_every:
            images = pairing.divide(images, self.val_every, split=self.split)
        labels = None if self.labels is None or not images else self._here(self.labels)
        return pairing.pair(images, root, labels, suffix=self.label_suffix, left_out=found)

    def _listed(self, root: Path, rows: list[list[str]], *, split_file: Path) -> list[pairing.Pair]:
        for row in rows:
            if len(row) != 2:
                raise ValueError(f"{split_file} has {row[0]!r} without its label; give every line both, or none")
            missing = next((name for name in row if not isfile(root / name)), None)
            if missing:
                advice = "put a tab between image and label where names hold spaces"
                raise ValueError(f"{split_file} names {missing!r}, and {root / missing} does not exist; {advice}")
        pairing.check_once([image for image, _ in rows], split_file=split_file)
        unlabelled = self.labels in (None, "none")
        return [(str(root / image), None if unlabelled else str(root / label)) for image, label in rows]
