"""Cityscapes (https://arxiv.org/abs/1604.01685): 19 classes, laid out as the official archives are."""

from dataclasses import dataclass
from pathlib import Path

from densevit.data.dataset import DATASETS
from densevit.data.layouts.pairing import check_folder, check_root, is_hidden
from densevit.data.picture_set import PictureDataset
from densevit.labels import IGNORE
from densevit.pictures.coding import LabelCoding

# label id, train id = position, name, colour
_TABLE = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
CLASSES = tuple(name for _, name, _ in _TABLE)
PALETTE = tuple(color for _, _, color in _TABLE)
TRAIN_ID_TO_LABEL_ID = {train_id: label_id for train_id, (label_id, _, _) in enumerate(_TABLE)}
# Every id of the official table, 0 to 33; those without a train id are ignored.
LABEL_ID_TO_TRAIN_ID = dict.fromkeys(range(34), IGNORE) | {
    label_id: train_id for train_id, label_id in TRAIN_ID_TO_LABEL_ID.items()
}
SPLITS = ("train", "val", "test")
_IMAGE_ENDING = "_leftImg8bit.png"
_CODINGS = {
    "_labelTrainIds.png": LabelCoding(num_classes=len(CLASSES)),
    "_labelIds.png": LabelCoding(num_classes=len(CLASSES), label_map=LABEL_ID_TO_TRAIN_ID),
}


@DATASETS.register({"cityscapes": {}})
@dataclass(frozen=True, kw_only=True)
class Cityscapes:
    """`root` holds leftImg8bit/<split>/<city>/ and gtFine/<split>/<city>/; labels=None leaves the labels out.

    Each label is read from *_labelTrainIds.png where there is one, otherwise from *_labelIds.png, converted on the fly.
    """

    root: str
    split: str = "train"
    labels: str | None = "gtFine"
    exif: str | None = None

    def open(self) -> PictureDataset:
        if self.split not in SPLITS:
            raise ValueError(f"Cityscapes has the splits {', '.join(SPLITS)}, got {self.split!r}")
        root = check_root(self.root)
        folder = check_folder(root, f"leftImg8bit/{self.split}", key="root")
        images = sorted(path for path in folder.glob(f"*/*{_IMAGE_ENDING}") if not is_hidden(path.name))
        if not images:
            raise ValueError(f"{folder} holds no <city>/*{_IMAGE_ENDING}; unpack leftImg8bit_trainvaltest there")
        files = [(str(image), self._label_of(image, root=root)) for image in images]
        return PictureDataset(files, classes=CLASSES, palette=PALETTE, coding=_CODINGS, exif=self.exif)

    def _label_of(self, image: Path, *, root: Path) -> str | None:
        if self.labels in (None, "none"):
            return None
        name = image.name.removesuffix(_IMAGE_ENDING)
        folder = root / self.labels / self.split / image.parent.name
        for ending in _CODINGS:
            path = folder / f"{name}_{self.labels}{ending}"
            if path.is_file():
                return str(path)
        expected = f"{folder / name}_{self.labels}_labelIds.png or _labelTrainIds.png"
        advice = "unpack gtFine_trainvaltest there, or set labels=None to read images alone"
        raise ValueError(f"{image} has no label: expected {expected}; {advice}")
