"""Finding files: folders of images, their labels by name, and split files."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from os import walk
from pathlib import Path, PurePath
from typing import Any
from unicodedata import normalize

from densevit.pictures.picture import ARRAY_ENDINGS, IMAGE_ENDINGS
from densevit.texts import read_text

logger = logging.getLogger("densevit")
Pair = tuple[str, str | None]  # paths of an image and of its label


def check_root(root: str | Path) -> Path:
    """The data root as a Path; a missing one raises ValueError."""
    if not str(root):
        raise ValueError("the data root is an empty text; set root to the folder that holds the data set")
    path = Path(root).expanduser()
    if not path.is_dir():
        kind = "is not a folder" if path.exists() else "does not exist"
        raise ValueError(f"the data root {path} {kind}; set root to the folder that holds the data set")
    return path


def check_folder(root: Path, folder: str, *, key: str) -> Path:
    """The folder below the root; a missing one raises ValueError that lists what is there."""
    path = root / folder
    if path.is_dir():
        return path
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    there = ", ".join(sorted(entry.name for entry in parent.iterdir() if entry.is_dir())[:12]) or "no folder"
    way_out = f"set root to the folder that holds {folder}" if key == "root" else f"set {key} to the folder below root"
    raise ValueError(f"{path} does not exist ({parent} has {there}); {way_out}")


def list_pictures(
    folder: Path, *, suffix: str = "", endings: Sequence[str] = (*IMAGE_ENDINGS, *ARRAY_ENDINGS)
) -> dict[str, str]:
    """Picture files in a folder and its subfolders, in order: name without suffix and ending -> path.

    `suffix` is what follows the name that image and label share, with the ending ("_gt.png") or without ("_gt");
    files without it are left out.
    """
    found: dict[str, str] = {}
    for directory, folders, names in walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem = _stem(name, suffix) if name.lower().endswith(tuple(endings)) else None
            if stem is None:
                continue
            # An accented letter as one character: some systems store it as two.
            key = normalize("NFC", (Path(directory).relative_to(folder) / stem).as_posix())
            if key in found:
                raise ValueError(f"{found[key]} and {Path(directory, name)} share one name; keep one of them")
            found[key] = str(Path(directory, name))
    return dict(sorted(found.items()))


def is_hidden(name: str) -> bool:
    """Also what macOS leaves beside each file that it copies: ._name.png."""
    return name.startswith(".")


def _stem(name: str, suffix: str) -> str | None:
    path = PurePath(name)
    if is_hidden(name) or path.suffix.lower() not in (*IMAGE_ENDINGS, *ARRAY_ENDINGS):
        return None
    if "." in suffix:
        return name.removesuffix(suffix) if name.endswith(suffix) else None
    return path.stem.removesuffix(suffix) if path.stem.endswith(suffix) else None


def pair(
    images: Mapping[str, str], root: Path, labels: str | None, *, suffix: str = "", left_out: Mapping[str, str] = {}
) -> list[Pair]:
    """(image, label of its name in the folder `labels`); without a folder (None, "none") labels are None.

    An image without label raises ValueError, labels without image are warned of, but for those of `left_out`.
    """
    if labels in (None, "none"):
        return [(path, None) for path in images.values()]
    folder = check_folder(root, labels, key="labels")
    found = list_pictures(folder, suffix=suffix, endings=IMAGE_ENDINGS)
    missing = [stem for stem in images if stem not in found]
    if missing:
        expected = f"expected {folder / missing[0]}.png; {_advice(missing[0], found)}"
        raise ValueError(
            f"{len(missing)} of {len(images)} images have no label, first {images[missing[0]]}: {expected}"
        )
    extra = [path for stem, path in found.items() if stem not in images and stem not in left_out]
    if extra:
        logger.warning("%d labels in %s have no image and are left out, first %s", len(extra), folder, extra[0])
    return [(path, found[stem]) for stem, path in images.items()]


def _advice(stem: str, labels: Mapping[str, str]) -> str:
    close = next((name for name in labels if name.startswith(stem)), None)
    if close is not None:
        return f"is it {labels[close]}? Then set label_suffix={close.removeprefix(stem)!r}"
    if not labels:
        return "the folder holds no pictures"
    return f"labels there are named like {PurePath(next(iter(labels.values()))).name} (see image_suffix, label_suffix)"


def divide(found: Mapping[str, Any], val_every: int, *, split: str) -> dict[str, Any]:
    """Every n-th of what was found by name for split "val", the others for "train"; ValueError for other splits."""
    if val_every < 2 or split not in ("train", "val"):
        got = f"got val_every={val_every} and split {split!r}"
        raise ValueError(f"val_every=n (2 or more) gives every n-th image to val and the others to train; {got}")
    val = {*list(found)[::val_every]}
    return {name: each for name, each in found.items() if (name in val) == (split == "val")}


def read_split_file(path: Path) -> list[list[str]]:
    """The lines of a split file, each as its one or two columns; blank lines and # comments are left out.

    Columns are divided by tabs where there is one, so that names may hold spaces; otherwise by spaces.
    """
    if not path.is_file():
        raise ValueError(f"the split file {path} does not exist; set split_file to a text file with one name a line")
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    rows = [[name.strip() for name in line.split("\t")] if "\t" in line else line.split() for line in lines]
    for row in rows:
        if len(row) > 2:
            raise ValueError(f"{path} has the line {' '.join(row)!r}; expected a name, or an image and a label")
        for name in row:
            if PurePath(name).is_absolute() or ".." in PurePath(name).parts:
                raise ValueError(f"{path} names {name!r}, which may lie outside the data root; write paths below it")
    if not rows:
        raise ValueError(f"the split file {path} is empty; write one name a line")
    return rows


def check_once(names: Sequence[str], *, split_file: Path) -> None:
    """Raise ValueError where a split file names an image twice."""
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"{split_file} names {name!r} {count} times; name every image once")


def select(images: Mapping[str, str], names: Sequence[str], *, suffix: str, split_file: Path) -> dict[str, str]:
    """Those images that a split file names, in its order, with or without suffix and ending."""
    chosen = []
    for name in names:
        path = PurePath(normalize("NFC", name))
        stem = next((s for s in (path, path.parent / (_stem(path.name, suffix) or "")) if s.as_posix() in images), None)
        if stem is None:
            some = ", ".join(list(images)[:2]) or "nothing: the folder is empty"
            raise ValueError(f"{split_file} names {name!r}, but the images have names like {some}")
        chosen.append(stem.as_posix())
    check_once(chosen, split_file=split_file)
    return {stem: images[stem] for stem in chosen}
