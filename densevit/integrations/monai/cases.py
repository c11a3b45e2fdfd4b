"""Lists of the cases that densevit finds, for MONAI's data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densevit.data.dataset import create_dataset
from densevit.data.layouts.guess_volumes import choose_split
from densevit.predictor.inputs import name_inputs
from densevit.predictor.scans import find_scans
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
    first = [Path(paths[0]) for paths in files]
    places = [(path.with_name(case_name(path)), path.parent, (path,)) for path in first]
    named = name_inputs(places, ending="_seg.nii.gz")
    return [scan | _named(each.name) for scan, each in zip(scans, named, strict=True)]


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
