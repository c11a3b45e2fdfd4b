"""Images and texts: a table that says of each image what it shows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.data.layouts.image_layout import SPLITS, ImageLayout
from densevit.data.layouts.subjects import subjects_of
from densevit.data.pair_set import PAIR_DATASETS, PairDataset
from densevit.texts import parse_json, read_table, read_text

Texts = dict[str, list[str]]  # path below the root -> what is said of the image
DELIMITERS = {".csv": ",", ".tsv": "\t"}


@PAIR_DATASETS.register({"pair_table": {}})
@dataclass(frozen=True, kw_only=True)
class PairTable(ImageLayout):
    """A file below root with a line for each image and text; beside its keys those of `ImageLayout`.

    table: its path, a .csv, .tsv or .jsonl file (an object a line). image, text, split_column: titles of the columns,
        or keys of the objects, with paths below root, with texts and, where there is one, with splits ("train", "val",
        "test"). An image with several texts has several lines, or in .jsonl a list of them.
    """

    table: str = "pairs.csv"
    image: str = "image"
    text: str = "text"
    split_column: str = "split"

    def open(self) -> PairDataset:
        root = self.check_root()
        splits = self._read(root)
        chosen = self._divided(splits, root) if self.val_every else splits.get(self.split, {})
        if not chosen:
            there = ", ".join(f"{split} ({len(texts)})" for split, texts in splits.items()) or "no image"
            way = "" if self.val_every else "; val_every=5 validates on every fifth image"
            raise ValueError(f"{root / self.table} has no image in split {self.split!r}, but {there}{way}")
        return PairDataset(self.images_of(root, list(chosen)), list(chosen.values()))

    def _divided(self, splits: Mapping[str, Texts], root: Path) -> Texts:
        """Every n-th subject is for validation, beginning with the first."""
        self.check_val_every()
        everything = {path: texts for each in splits.values() for path, texts in each.items()}
        subjects = subjects_of(list(everything), self.group, root=root)
        val = set(sorted(set(subjects.values()))[:: self.val_every])
        return {path: texts for path, texts in everything.items() if (subjects[path] in val) == (self.split == "val")}

    def _read(self, root: Path) -> dict[str, Texts]:
        path, found = root / self.table, {}
        split_of: dict[str, str] = {}
        if not path.is_file():
            raise ValueError(f"{path} does not exist; table names the file of images and texts below root")
        for line, row in self._rows(path):
            image, texts = row.get(self.image), row.get(self.text)
            texts = [texts] if isinstance(texts, str) else texts
            split = row.get(self.split_column) or "train"
            said = isinstance(texts, list) and texts and all(isinstance(text, str) and text.strip() for text in texts)
            if not isinstance(image, str) or not image or not said or not (root / image).exists():
                raise ValueError(f"{path}, line {line}: an image that exists and a text are needed, got {row}")
            if split not in SPLITS:
                raise ValueError(f"{path}, line {line}: the split must be train, val or test, got {split!r}")
            if split_of.setdefault(image, split) != split:
                raise ValueError(f"{path}, line {line}: {image} stands in the splits {split_of[image]} and {split}")
            found.setdefault(split, {}).setdefault(image, []).extend(text.strip() for text in texts)
        return found

    def _rows(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Number and content of each line; ValueError for a file of another kind, and without the columns."""
        if path.suffix.lower() == ".jsonl":
            for line, text in enumerate(read_text(path).splitlines(), start=1):
                row = parse_json(text, said_by=f"{path}, line {line}") if text.strip() else None
                if isinstance(row, dict):
                    yield line, row
                elif text.strip():
                    raise ValueError(f"{path}, line {line}: an object with {self.image} and {self.text} is needed")
            return
        if path.suffix.lower() not in DELIMITERS:
            raise ValueError(f"{path}: table must be a .csv, .tsv or .jsonl file")
        titles, *rows = read_table(path, delimiter=DELIMITERS[path.suffix.lower()]) or [[]]
        lacking = [title for title in (self.image, self.text) if title not in titles]
        if lacking:
            raise ValueError(f"{path} has no column {lacking[0]!r}, but {', '.join(titles)}; name it by image or text")
        for line, cells in enumerate(rows, start=2):
            yield line, dict(zip(titles, [cell.strip() for cell in cells], strict=False))
