"""Lists of the cases that densevit finds, for MONAI's data sets."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densevit.data.dataset import create_dataset
from densevit.data.layouts.guess_volumes import choose_split
from densevit.predictor.scan_files import find_scans
from densevit.volumes.paths import case_name

Files = str | list[str]
NAME = "mask_name"  # in a sample


def list_scans(inputs: str | Path | Sequence[Any], *, channels: int = 1) -> list[dict[str, Files]]:
    """Files, folders or a list of them -> [{"image": path}, ...], the scans that `densevit predict` would find.

    An entry of a list may also be a list of files, one a channel, or a dictionary, which is taken as it is. Where scans
    of several folders have one name, "mask_name" tells them apart: p1/ct, p2/ct.
    """
    entries = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if all(isinstance(entry, str | Path) for entry in entries):
        found = find_scans(entries, channels=channels)
        return [dict(image=_files(scan.paths)) | _named(scan.name) for scan in found]
    scans = [dict(entry) if isinstance(entry, Mapping) else dict(image=_files(entry)) for entry in entries]
    files = [scan["image"] if isinstance(scan["image"], list | tuple) else [scan["image"]] for scan in scans]
    names = _apart([Path(paths[0]) for paths in files])
    return [scan | _named(name) for scan, name in zip(scans, names, strict=True)]


def _apart(paths: Sequence[Path]) -> list[str]:
    """The names of scans; where several have one, all are paths below the folder that holds them: p1/ct, p2/ct."""
    names = [case_name(path) for path in paths]
    if len(set(names)) < len(names):
        root = os.path.commonpath([os.path.abspath(path.parent) for path in paths])
        folders = [os.path.relpath(path.parent, root) for path in paths]
        names = [os.path.join(folder, name) for folder, name in zip(folders, names, strict=True)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"several scans would be written as {twice[0]}_seg.nii.gz; rename one, or leave it out")
    return names


def _named(name: str) -> dict[str, str]:
    """What names a mask where its scan's file is not enough."""
    return {NAME: name} if "/" in name else {}


def list_cases(dataset: Mapping[str, Any]) -> list[dict[str, Files]]:
    """A data set's config, such as dict(type="msd", root=..., split="val") -> [{"image": path, "label": path}, ...].

    Without `val_every` and `fold`, a set that lists no cases for validation gives every fifth subject to it, as
    `densevit fingerprint` does.
    """
    cases = create_dataset(choose_split(dataset)).cases
    return [dict(image=_files(case.images)) | ({} if case.label is None else dict(label=case.label)) for case in cases]


def _files(paths: str | Path | Sequence[str | Path]) -> Files:
    named = [str(paths)] if isinstance(paths, str | Path) else list(map(str, paths))
    return named[0] if len(named) == 1 else named
