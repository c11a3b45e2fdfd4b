"""Any folder of scans and label files whose names share a part: patterns say which is which."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import walk
from os.path import normpath
from pathlib import Path, PurePath

from densevit.data.case import Case
from densevit.data.dataset import DATASETS
from densevit.data.layouts.classes import named_labels
from densevit.data.layouts.pairing import check_root, is_hidden
from densevit.data.layouts.volume_layout import SPLITS, Listing, VolumeLayout, name_channels

WILDCARDS = re.compile(r"(\*\*/|\*|\?)")
REGEX = {"**/": r"((?:[^/]+/)*)", "*": r"([^/]*)", "?": r"([^/])"}


@DATASETS.register({"volume_folder": {}})
@dataclass(frozen=True, kw_only=True)
class VolumeFolder(VolumeLayout):
    """Images and labels by pattern: what * stands for is the case's name, and joins an image with its label.

    images: a pattern below root such as "scans/*.nii.gz", or one for each channel: ["*/t1.nii.gz", "*/t2.nii.gz"]. A
        pattern may name the folders of DICOM series; {split} stands for the split.
    labels: the pattern of the labels, such as "masks/*_seg.nii.gz" or "*/seg.dcm" (DICOM-SEG); None without labels.
    classes: {name: value in the files}, or names in the order of values from 0.
    in_channels: of images that hold several channels in one file. See `VolumeLayout` for the other keys.
    """

    images: str | list | tuple = "images/*.nii.gz"
    labels: str | None = "labels/*.nii.gz"
    classes: dict | list | tuple | None = None
    in_channels: int | None = None

    def listing(self) -> Listing:
        root = check_root(self.root)
        patterns = [self.images] if isinstance(self.images, str) else list(self.images)
        labels = named_labels(self.classes, said_by="classes")
        if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
            raise ValueError(f"images must be a pattern, or one for each channel, got {self.images!r}")
        channels = name_channels(patterns, self.in_channels, otherwise=1)
        if not any("{split}" in str(pattern) for pattern in (*patterns, self.labels)):
            cases = dict(train=self._cases(root, patterns, "train"))
        else:
            cases = {self.split: self._cases(root, patterns, self.split)}
            if self.val_every or self.group is not None:  # the other side is looked at too, where it is there
                for split in {*SPLITS} - {self.split}:
                    with suppress(ValueError):
                        cases[split] = self._cases(root, patterns, split)
        return Listing(root=root, said_by=root, cases=cases, labels=labels, channels=channels)

    def _cases(self, root: Path, patterns: Sequence[str], split: str) -> dict[str, Case]:
        images = [match_files(root, pattern.replace("{split}", split), key="images") for pattern in patterns]
        for pattern, channel in zip(patterns[1:], images[1:], strict=True):
            _check_same(images[0], channel, pattern=pattern, what="image")
        labels = None
        if self.labels is not None:
            pattern = self.labels.replace("{split}", split)
            labels = match_files(root, pattern, key="labels")
            _check_same(images[0], labels, pattern=pattern, what="label")
        return {
            name: Case(tuple(channel[name] for channel in images), None if labels is None else labels[name])
            for name in images[0]
        }


def match_files(root: Path, pattern: str, *, key: str) -> dict[str, str]:
    """{what the wildcards stand for: path}, sorted; none, or two files for one name, raise ValueError."""
    if PurePath(pattern).is_absolute() or ".." in PurePath(pattern).parts:
        raise ValueError(f"{key} {pattern!r} may lie outside the data root; write a pattern below it")
    if not WILDCARDS.search(pattern):
        raise ValueError(f"{key} {pattern!r} has no *, which stands for the name of a case; such as scans/*.nii.gz")
    regex = _to_regex(normpath(pattern) if pattern.startswith("./") else pattern)
    found: dict[str, str] = {}
    for path in _below(root, depth=None if "**" in pattern else len(PurePath(pattern).parts)):
        match = regex.fullmatch(path)
        if match is None:
            continue
        name = "/".join(part.strip("/") for part in match.groups() if part)
        if name in found:
            raise ValueError(f"{key} {pattern!r} finds {found[name]} and {root / path} for the case {name!r}")
        found[name] = str(root / path)
    if not found:
        raise ValueError(f"{key} {pattern!r} finds nothing below {root}; {_there(root)}")
    return dict(sorted(found.items(), key=lambda pair: pair[1]))


def _to_regex(pattern: str) -> re.Pattern:
    return re.compile("".join(REGEX.get(part, re.escape(part)) for part in WILDCARDS.split(pattern)))


def _below(root: Path, *, depth: int | None) -> list[str]:
    """Files and folders of `root` that are not hidden, as paths below it, as deep as `depth`."""
    found = []
    for directory, folders, names in walk(root, followlinks=True):
        below = PurePath(directory).relative_to(root)
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        found += [(below / name).as_posix() for name in (*folders, *names) if not is_hidden(name)]
        if depth is not None and len(below.parts) + 1 >= depth:
            folders.clear()
    return sorted(found)


def _check_same(images: dict[str, str], others: dict[str, str], *, pattern: str, what: str) -> None:
    missing = [name for name in images if name not in others]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(images)} cases have no {what} {pattern!r}, first {missing[0]!r} of "
            f"{images[missing[0]]}; it finds names such as {', '.join(repr(name) for name in list(others)[:2])}"
        )


def _there(root: Path) -> str:
    names = sorted(path.name for path in root.iterdir() if not is_hidden(path.name))
    return f"it holds {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}" if names else "it is empty"
