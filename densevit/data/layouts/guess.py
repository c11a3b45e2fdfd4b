"""`guess_dataset`: the config of a set from its folders alone."""

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
    train, own = _split_folders(path, "train"), _split_folders(path, split)
    if own and (split != "train" or _split_folders(path, "val")):
        return _config(path, own, split=split)
    whole = train or next((pair for pair in _FLAT_LAYOUTS if _exist(path, pair)), None)
    if whole and split in ("train", "val"):
        return dict(_config(path, whole, split=split), val_every=_VAL_EVERY)
    raise ValueError(
        f"{path} is neither a Cityscapes layout (leftImg8bit/, gtFine/) nor a folder with images/{split} and "
        f"labels/{split} (or images/ and labels/); arrange it so, or write a config with type='folder'"
    )


def _split_folders(root: Path, split: str) -> Folders | None:
    for name in _SPLIT_NAMES.get(split, (split,)):
        for pair in _LAYOUTS:
            images, labels = (folder.format(split=name) for folder in pair)
            if _exist(root, (images, labels)):
                return images, labels
    return None


def _exist(root: Path, folders: Folders) -> bool:
    return all((root / folder).is_dir() for folder in folders)


def _config(root: Path, folders: Folders, *, split: str) -> dict:
    images, labels = folders
    config = dict(type="folder", root=str(root), split=split, images=images, labels=labels)
    names, label_names = list(list_pictures(root / images)), set(list_pictures(root / labels))
    if names and names[0] not in label_names:
        close = next((name for name in sorted(label_names) if name.startswith(names[0])), None)
        if close is not None:
            config["label_suffix"] = close.removeprefix(names[0])
    return config
