"""Which prediction belongs to which truth: by their names in two folders, or by the lines of a manifest."""

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from densevit.pictures.picture import IMAGE_ENDINGS
from densevit.registry import check_known
from densevit.texts import read_table
from densevit.volumes.paths import DICOM_ENDINGS, FILE_ENDINGS, case_name, walk_files

PICTURES = tuple(ending for ending in IMAGE_ENDINGS if ending not in (".jpg", ".jpeg"))
ARRAYS = (".npz", ".npy")
ENDINGS = (*PICTURES, *FILE_ENDINGS, *DICOM_ENDINGS)
# What layouts put behind the name that an image and its label share.
SUFFIX = re.compile(r"_(gtFine|gtCoarse)_(labelIds|labelTrainIds)$|_leftImg8bit$")
CHANNEL = re.compile(r"_\d{4}$")  # nnU-Net's, of images
NO_LABELS = re.compile(r"_(gtFine|gtCoarse)_(color|instanceIds)$")


@dataclass(frozen=True)
class Pair:
    """A case: the file of its truth, and that of its prediction, or None where it is missing."""

    case: str
    prediction: Path | None
    truth: Path


@dataclass(frozen=True)
class Pairs:
    """All cases, the predictions of which there is no truth, and what a manifest says of each case besides."""

    pairs: list[Pair]
    unmatched: list[Path] = field(default_factory=list)
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Cases without a prediction."""
        return [pair.case for pair in self.pairs if pair.prediction is None]


def find_pairs(prediction: str | Path, truth: str | Path, *, train_ids: bool = False) -> Pairs:
    """Pair two files, or the files of two folders, by their paths below them; else, where those are unique, by name.

    Endings and what Cityscapes appends (`_leftImg8bit`, `_gtFine_labelIds`) do not count; of its label files those of
    label ids are taken, or with `train_ids` those. FileNotFoundError for what is not there, ValueError where two files
    of a folder are called alike, or none as one of the other.
    """
    prediction, truth = Path(prediction), Path(truth)
    for path in (prediction, truth):
        if not path.exists():
            raise FileNotFoundError(f"no such file or folder: {path}; check the path")
    if prediction.is_dir() != truth.is_dir():
        raise ValueError(f"one of {prediction} and {truth} is a file and one a folder; give two files or two folders")
    if truth.is_file():
        return Pairs([Pair(_name(truth), prediction, truth)])
    truths, predictions = (_by_name(folder, train_ids=train_ids) for folder in (truth, prediction))
    if not truths.keys() & predictions.keys():
        predictions = _by_last_name(predictions, truths)
    if not truths.keys() & predictions.keys():
        raise ValueError(
            f"no file of {prediction}, such as {_first(predictions)}, is called like one of {truth}, such as "
            f"{_first(truths)}; say which belong together with --manifest"
        )
    pairs = [Pair(case, predictions.get(case), path) for case, path in truths.items()]
    return Pairs(pairs, [path for case, path in predictions.items() if case not in truths])


def find_images(folder: str | Path, cases: Sequence[str]) -> dict[str, Path]:
    """Case -> its image in a folder, called as predictions are; of nnU-Net's channels (`_0000`) the first.

    ValueError where no case has one.
    """
    return find_files(Path(folder), cases, endings=(*IMAGE_ENDINGS, *FILE_ENDINGS, *DICOM_ENDINGS), what="image")


def find_files(folder: Path, cases: Sequence[str], *, endings: tuple[str, ...], what: str) -> dict[str, Path]:
    """Case -> the file of a folder, with one of these endings, that is called as predictions are."""
    found: dict[str, Path] = {}
    known = dict.fromkeys(cases, folder)
    for path in walk_files(folder):
        if path.name.lower().endswith(endings):
            name = (path.relative_to(folder).parent / _name(path)).as_posix()
            found.setdefault(name if name in known else CHANNEL.sub("", name), path)
    if not found.keys() & known.keys():
        found = _by_last_name(found, known)
    files = {case: found[case] for case in cases if case in found}
    if not files:
        raise ValueError(f"{folder} holds no {what} that is called as a case is, such as {cases[0]}; check the path")
    return files


def name_cases(images: Sequence[str | Path]) -> list[str]:
    """What the cases of these images are called, as their labels are where those lie in folders of the same names.

    `_leftImg8bit` of Cityscapes and `_0000` of nnU-Net do not count, where names still tell all cases apart.
    """
    paths = [Path(os.path.abspath(image)) for image in images]
    root = os.path.commonpath([path.parent for path in paths])
    whole = [path.relative_to(root).as_posix() for path in paths]
    named = [(path.relative_to(root).parent / _name(path)).as_posix() for path in paths]
    short = [name.removesuffix("_0000") for name in named]
    return next(names for names in (short, named, whole) if names is whole or len(set(names)) == len(set(whole)))


def read_manifest(path: str | Path) -> Pairs:
    """A CSV with the columns `prediction` and `truth`, files relative to it, perhaps `case`, and others to group by."""
    path = Path(path)
    rows = _rows(path)
    for name in ("prediction", "truth"):
        check_known(name, rows[0] if rows else (), what=f"{path} has no column")
    pairs, columns = [], {}
    for row in rows:
        truth, predicted = path.parent / row["truth"], path.parent / row["prediction"]
        case = row.get("case") or _name(truth)
        if case in columns:
            raise ValueError(f"{path} has two lines of the case {case!r}; give each a name of its own in a column case")
        pairs.append(Pair(case, predicted if row["prediction"] and predicted.exists() else None, truth))
        columns[case] = row
    return Pairs(pairs, columns=columns)


def read_columns(path: str | Path, cases: Sequence[str]) -> dict[str, dict[str, str]]:
    """What a CSV says of each case, found by its column `case`; ValueError where it lacks one, or says two things."""
    rows: dict[str, dict[str, str]] = {}
    for row in _rows(Path(path)):
        case = row.get("case", "")
        if rows.setdefault(case, row) != row:
            raise ValueError(f"{path} has two lines of the case {case!r} that say different things; keep one of them")
    lacking = [case for case in cases if case not in rows]
    if lacking:
        raise ValueError(
            f"{path} says nothing of {len(lacking)} of {len(cases)} cases, such as {lacking[0]}; name each in its "
            "column case"
        )
    return {case: rows[case] for case in cases}


def _rows(path: Path) -> list[dict[str, str]]:
    """Column -> cell, of each line under that of titles; what a line lacks is empty."""
    titles, *rows = read_table(path) or [[]]
    return [dict(zip(titles, row + [""] * len(titles), strict=False)) for row in rows]


def _by_name(folder: Path, *, train_ids: bool) -> dict[str, Path]:
    """Case -> file, of all label files below a folder."""
    other = "_labelIds" if train_ids else "_labelTrainIds"
    found: dict[str, Path] = {}
    for path in walk_files(folder):
        stem = _stem(path)
        if not path.name.lower().endswith(ENDINGS) or NO_LABELS.search(stem) or stem.endswith(other):
            continue
        case = (path.relative_to(folder).parent / _name(path)).as_posix()
        if case in found:
            raise ValueError(f"{found[case]} and {path} would both be {case}; keep one, or choose with --manifest")
        found[case] = path
    if not found:
        raise FileNotFoundError(f"{folder} holds no label maps; files ending in {', '.join(ENDINGS)} are looked for")
    return found


def _stem(path: Path) -> str:
    return path.stem if path.suffix.lower() in (*IMAGE_ENDINGS, *ARRAYS) else case_name(path)


def _name(path: Path) -> str:
    """`frankfurt_000_gtFine_labelIds.png` -> frankfurt_000."""
    return SUFFIX.sub("", _stem(path))


def _by_last_name(predictions: Mapping[str, Path], truths: Mapping[str, Path]) -> dict[str, Path]:
    """Predictions by the case whose last name is theirs; as they were where a name is there twice."""
    cases: dict[str, list[str]] = defaultdict(list)
    for case in truths:
        cases[Path(case).name].append(case)
    found = {}
    for case, path in predictions.items():
        fitting = cases.get(Path(case).name, [case])
        if len(fitting) > 1 or fitting[0] in found:
            return dict(predictions)
        found[fitting[0]] = path
    return found


def _first(files: Mapping[str, Path]) -> Path:
    return next(iter(files.values()))
