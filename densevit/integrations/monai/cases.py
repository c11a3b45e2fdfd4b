"""Lists of the cases that densevit finds, for MONAI's data sets."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densevit.data.create import create_dataset
from densevit.data.layouts.guess_volumes import choose_split
from densevit.predictor.inputs import Input
from densevit.predictor.scans import find_scans, name_apart
from densevit.volumes.paths import case_name

Files = str | list[str]


def list_scans(inputs: str | Path | Sequence[Any], *, channels: int = 1) -> list[dict[str, Files]]:
    """Files, folders or a list of them -> [{"image": path}, ...], the scans that `densevit predict` would find.

    An entry of a list may also be a list of files, one a channel, or a dictionary, which is taken as it is.
    """
    entries = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if all(isinstance(entry, str | Path) for entry in entries):
        return [dict(image=_files(scan.paths)) for scan in find_scans(entries, channels=channels)]
    scans = [dict(entry) if isinstance(entry, Mapping) else dict(image=_files(entry)) for entry in entries]
    name_apart(_inputs(scans))
    return scans


def folder_of_names(scans: Sequence[Mapping[str, Any]]) -> str:
    """The folder to which names of masks are relative where scans of several folders have one name; else none, ""."""
    inputs = _inputs(scans)
    apart = any("/" in scan.name for scan in name_apart(inputs))
    return os.path.commonpath([os.path.abspath(scan.path.parent) for scan in inputs]) if apart else ""


def _inputs(scans: Sequence[Mapping[str, Any]]) -> list[Input]:
    files = [scan["image"] if isinstance(scan["image"], list | tuple) else [scan["image"]] for scan in scans]
    return [Input(case_name(paths[0]), tuple(map(Path, paths))) for paths in files]


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
