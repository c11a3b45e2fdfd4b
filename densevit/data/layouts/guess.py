"""`guess_dataset`: the config of a set from its folders alone."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

from densevit.data.layouts.pairing import check_root, list_pictures

# Where images and labels lie in common layouts; {split} stands for one of the split's names.
_LAYOUTS = (
    ("images/{split}", "labels/{split}"),
    ("images/{split}", "masks/{split}"),
    ("images/{split}", "annotations/{split}"),
    ("img_dir/{split}", "ann_dir/{split}"),
    ("{split}/images", "{split}/labels"),
    ("{split}/images", "{split}/masks"),
    ("{split}", "{split}annot"),
    ("{split}", "{split}_labels"),
)
_FLAT_LAYOUTS = (
    ("images", "labels"),
    ("images", "masks"),
    ("images", "annotations"),
    ("imgs", "masks"),
    ("imgs", "gts"),
    ("img_dir", "ann_dir"),
    ("JPEGImages", "SegmentationClass"),
)
_SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "test"),
    "test": ("test", "testing", "val"),
}
_VAL_EVERY = 5
Folders = tuple[str, str]


def guess_dataset(root: str | Path, *, split: str = "train") -> dict:
    """The config of `split` for a Cityscapes layout, ADE20K, or a folder of images with labels of the same name.

    A set that is not split, or has training images alone, gives every fifth image to "val". ValueError says what was
    looked for.
    """
    path = check_root(root)
    if (path / "leftImg8bit").is_dir():
        return dict(type="cityscapes", root=str(path), split=split)
    for ade in (path, path / "ADEChallengeData2016"):
        if (ade / "annotations" / "training").is_dir() and (ade != path or (path / "objectInfo150.txt").is_file()):
            return dict(type="ade20k", root=str(ade), split=split)
    train, val, own = (_find(path, _LAYOUTS, _SPLIT_NAMES.get(part, (part,))) for part in ("train", "val", split))
    if own and (split != "train" or val):
        return _config(path, own, split=split)
    whole = train or _find(path, _FLAT_LAYOUTS, [""])
    if whole and split in ("train", "val"):
        return dict(_config(path, whole, split=split), val_every=_VAL_EVERY)
    raise ValueError(
        f"{path} is neither a Cityscapes layout (leftImg8bit/, gtFine/) nor a folder with images/{split} and "
        f"labels/{split} (or images/ and labels/); arrange it so, or write a config with type='folder'"
    )


def _find(root: Path, layouts: Sequence[Folders], splits: Sequence[str]) -> Folders | None:
    """The first folders of images and labels that are both there."""
    for split, folders in product(splits, layouts):
        images, labels = (folder.format(split=split) for folder in folders)
        if (root / images).is_dir() and (root / labels).is_dir():
            return images, labels
    return None


def _config(root: Path, folders: Folders, *, split: str) -> dict:
    images, labels = folders
    config = dict(type="folder", root=str(root), split=split, images=images, labels=labels)
    names, label_names = list(list_pictures(root / images)), list_pictures(root / labels)
    if names and names[0] not in label_names:
        close = next((name for name in sorted(label_names) if name.startswith(names[0])), None)
        if close is not None:
            config["label_suffix"] = close.removeprefix(names[0])
    return config
