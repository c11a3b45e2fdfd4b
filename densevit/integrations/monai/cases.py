"""Lists of the cases that densevit finds, for MONAI's data sets."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from densevit.data.create import create_dataset
from densevit.predictor.scans import find_scans

Files = str | list[str]


def list_scans(inputs: str | Path | Sequence[Any], *, channels: int = 1) -> list[dict[str, Files]]:
    """Files, folders or a list of them -> [{"image": path}, ...], the scans that `densevit predict` would find.

    An entry of a list may also be a list of files, one a channel, or a dictionary, which is taken as it is.
    """
    entries = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    if all(isinstance(entry, str | Path) for entry in entries):
        return [dict(image=_files(scan.paths)) for scan in find_scans(entries, channels=channels)]
    return [dict(entry) if isinstance(entry, Mapping) else dict(image=_files(entry)) for entry in entries]


def list_cases(dataset: Mapping[str, Any]) -> list[dict[str, Files]]:
    """A data set's config, such as dict(type="msd", root=..., split="val") -> [{"image": path, "label": path}, ...]."""
    cases = create_dataset(dict(dataset)).cases
    return [dict(image=_files(case.images)) | ({} if case.label is None else dict(label=case.label)) for case in cases]


def _files(paths: str | Path | Sequence[str | Path]) -> Files:
    named = [str(paths)] if isinstance(paths, str | Path) else list(map(str, paths))
    return named[0] if len(named) == 1 else named
