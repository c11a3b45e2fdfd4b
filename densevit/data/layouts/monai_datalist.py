"""Datalists as MONAI reads them and Auto3DSeg writes them: one JSON file of training, validation and test lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.data.case import Case
from densevit.data.dataset import DATASETS
from densevit.data.layouts.description import listed_case, read_description
from densevit.data.layouts.label_names import named_labels
from densevit.data.layouts.msd import channel_names, list_cases
from densevit.data.layouts.pairing import check_root
from densevit.data.layouts.volume_layout import Fold, Listing, VolumeLayout, check_channels
from densevit.quoting import shown

MOST_FOLDS = 1000


@DATASETS.register({"monai_datalist": {}})
@dataclass(frozen=True, kw_only=True)
class Datalist(VolumeLayout):
    """Cases of a datalist; paths in it are below `root`.

    datalist: the JSON file, below root or anywhere. Its "fold" numbers are folds; an "image" may be a list of files,
        one a channel.
    classes: {name: value in the files}, or names in the order of values from 0; where the file has no "labels".
    in_channels: of images that hold several channels in one file, where the file has no "modality".
    See `VolumeLayout` for the other keys.
    """

    datalist: str = "datalist.json"
    classes: dict | list | tuple | None = None
    in_channels: int | None = None

    def listing(self) -> Listing:
        root = check_root(self.root)
        path = root / self.datalist if (root / self.datalist).is_file() else Path(self.datalist)
        content = read_description(path, beside="set datalist to the JSON file that lists the cases")
        labels = named_labels(content.get("labels") if self.classes is None else self.classes, said_by=path)
        lists = dict(train="training", val="validation", test="testing" if "testing" in content else "test")
        cases = list_cases(root, content, lists, said_by=path)
        return Listing(
            said_by=path,
            cases=cases,
            labels=labels,
            channels=self._channels(content, cases, path),
            folds=_folds(content.get("training") or [], cases["train"], root=root, said_by=path),
        )

    def _channels(self, content: dict[str, Any], cases: dict[str, dict[str, Case]], path: Path) -> tuple[str, ...]:
        """By what is said, or one for each file."""
        check_channels(self.in_channels)
        said = channel_names(content, said_by=path)
        if said or self.in_channels is not None:
            number = len(said) if self.in_channels is None else self.in_channels
            return said if len(said) == number else tuple(f"channel {i}" for i in range(number))
        files = {len(case.images): name for split in cases.values() for name, case in split.items()}
        if len(files) > 1:
            (few, one), (many, other) = sorted(files.items())[:2]
            raise ValueError(f"{path}: the case {one} has {few} images and {other} has {many}; give all as many")
        number = next(iter(files), 1)
        return tuple(f"channel {i}" for i in range(number)) if number > 1 else ("image",)


def _folds(entries: list, cases: dict[str, Case], *, root: Path, said_by: Path) -> list[Fold]:
    """Fold k validates on the cases with number k and trains on the others; empty where no entry has a number."""
    numbers = [entry.get("fold") for entry in entries]
    if all(number is None for number in numbers):
        return []
    wrong = [n for n in numbers if not isinstance(n, int) or isinstance(n, bool) or not 0 <= n < MOST_FOLDS]
    if wrong:
        raise ValueError(
            f"{said_by}: every entry of 'training' needs a fold such as 0, below {MOST_FOLDS}, or none; one has "
            f"{shown(wrong[0])}"
        )
    read = [listed_case(root, entry, said_by=str(said_by)) for entry in entries]
    number_of = {case.images: number for case, number in zip(read, numbers, strict=True)}
    folds = []
    for number in range(max(numbers) + 1):
        val = frozenset(name for name, case in cases.items() if number_of[case.images] == number)
        folds.append((frozenset(cases) - val, val))
    return folds
