"""Images sorted by class: a folder for each class, as ImageNet has, or a table that gives each image its class."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densevit.data.class_set import CLASS_DATASETS, ClassDataset
from densevit.data.layouts.classes import read_classes
from densevit.data.layouts.image_layout import SPLITS, ImageLayout
from densevit.data.layouts.pairing import check_folder, is_hidden
from densevit.data.layouts.subjects import subjects_of
from densevit.pictures.picture import ARRAY_ENDINGS, IMAGE_ENDINGS
from densevit.texts import read_table
from densevit.volumes.paths import FILE_ENDINGS

PICTURES = (*IMAGE_ENDINGS, *ARRAY_ENDINGS)
Files = dict[str, str]  # path below the root -> name of the class


@dataclass(frozen=True, kw_only=True)
class ClassLayout(ImageLayout):
    """The keys that both kinds have, beside those of `ImageLayout`; val_every counts the images of each class.

    classes: how folders or cells call the classes, in the order of their numbers, or a .txt or .json file of that; by
        default all that there are in any split, sorted. names: {what files call it: what people call it}.
    """

    classes: str | list | tuple | None = None
    names: dict = field(default_factory=dict)

    def files(self, root: Path) -> dict[str, Files]:
        """The images of each split, or all as "train" where the set is not split."""
        raise NotImplementedError

    def open(self) -> ClassDataset:
        root = self.check_root()
        splits = self.files(root)
        classes = self._classes(root, sorted({name for files in splits.values() for name in files.values()}))
        chosen = self._divided(splits, root) if self.val_every else splits.get(self.split, {})
        if not chosen:
            there = ", ".join(f"{split} ({len(files)})" for split, files in splits.items() if files) or "no image"
            way = "" if self.val_every else "; val_every=5 validates on every fifth image of each class"
            raise ValueError(f"{root} has no image in split {self.split!r}, but {there}{way}")
        number = {name: i for i, name in enumerate(classes)}
        strange = next(((path, name) for path, name in chosen.items() if name not in number), None)
        if strange is not None:
            raise ValueError(f"{root / strange[0]} is of the class {strange[1]!r}, which classes does not name")
        shown = [str(self.names.get(name, name)) for name in classes]
        return ClassDataset(
            self.images_of(root, list(chosen)), [number[name] for name in chosen.values()], classes=shown
        )

    def _classes(self, root: Path, found: Sequence[str]) -> list[str]:
        if self.classes is None:
            return list(found)
        if not isinstance(self.classes, str):
            return [str(name) for name in self.classes]
        path = root / self.classes
        return list(read_classes(path if path.is_file() else self.classes).classes)

    def _divided(self, splits: Mapping[str, Files], root: Path) -> Files:
        """Every n-th subject of a class is for validation, beginning with the first."""
        self.check_val_every()
        everything = {path: name for files in splits.values() for path, name in files.items()}
        subjects = subjects_of(list(everything), self.group, root=root)
        first = {subject: everything[path] for path, subject in sorted(subjects.items(), reverse=True)}
        of_class: dict[str, list[str]] = {}
        for subject in dict.fromkeys(subjects[path] for path in sorted(subjects)):  # one of several classes counts once
            of_class.setdefault(first[subject], []).append(subject)
        val = {subject for order in of_class.values() for subject in order[:: self.val_every]}
        wanted = self.split == "val"
        return {path: name for path, name in everything.items() if (subjects[path] in val) == wanted}


@CLASS_DATASETS.register({"class_folder": {}})
@dataclass(frozen=True, kw_only=True)
class ClassFolder(ClassLayout):
    """A folder for each class, with its images or folders of them: ImageNet's train/n01440764/n01440764_10026.JPEG.

    images: the folder below root that holds the classes' folders; {split} stands for the split.
    """

    images: str = "{split}"

    def files(self, root: Path) -> dict[str, Files]:
        if "{split}" not in self.images:
            return {"train": _below(check_folder(root, self.images, key="images"), root)}
        folders = {split: root / self.images.replace("{split}", split) for split in SPLITS}
        check_folder(root, self.images.replace("{split}", self.split), key="images")
        return {split: _below(folder, root) for split, folder in folders.items() if folder.is_dir()}


@CLASS_DATASETS.register({"class_table": {}})
@dataclass(frozen=True, kw_only=True)
class ClassTable(ClassLayout):
    """A CSV file below root with a line for each image.

    table: its path. image, label, split_column: titles of the columns with paths below root, with classes and, where
        there is one, with splits ("train", "val", "test").
    """

    table: str = "labels.csv"
    image: str = "image"
    label: str = "label"
    split_column: str = "split"

    def files(self, root: Path) -> dict[str, Files]:
        path = root / self.table
        if not path.is_file():
            raise ValueError(f"{path} does not exist; table names the CSV file below root")
        titles, *rows = read_table(path) or [[]]
        lacking = [title for title in (self.image, self.label) if title not in titles]
        if lacking:
            raise ValueError(f"{path} has no column {lacking[0]!r}, but {', '.join(titles)}; name it by image or label")
        found: dict[str, Files] = {}
        for number, cells in enumerate(rows, start=2):
            row = dict(zip(titles, [cell.strip() for cell in cells], strict=False))
            image, label, split = (
                row.get(self.image, ""),
                row.get(self.label, ""),
                row.get(self.split_column) or "train",
            )
            if not image or not label or not (root / image).exists():
                raise ValueError(f"{path}, line {number}: an image that exists and its class are needed, got {row}")
            if split not in SPLITS:
                raise ValueError(f"{path}, line {number}: the split must be train, val or test, got {split!r}")
            if any(image in files for files in found.values()):
                raise ValueError(f"{path}, line {number}: {image} stands there twice; an image is of one class")
            found.setdefault(split, {})[image] = label
        return found


def _below(folder: Path, root: Path) -> Files:
    """Every picture and scan in the folders of `folder`, with the name of the folder."""
    found: Files = {}
    for kind in sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)):
        for path in sorted(kind.rglob("*")):
            if path.name.lower().endswith((*PICTURES, *FILE_ENDINGS)) and not is_hidden(path.name) and path.is_file():
                found[path.relative_to(root).as_posix()] = kind.name
    return found
