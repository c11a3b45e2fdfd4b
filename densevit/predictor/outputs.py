"""What writers of results have in common, and what a result says of its origin: model, options and files.

Another model, other options or another file never pass for the same.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from densevit.checkpoint import Header
from densevit.data.findings import source_files
from densevit.files import sha256
from densevit.predictor.inputs import Input, Opened
from densevit.predictor.labels import Stopwatch

COMPARED = ("model", "options", "input")  # of an origin; its "checkpoint" is for the reader alone
Origin = Mapping[str, Any]


@dataclass(frozen=True)
class Predicted:
    """An image with its label map (*S) of the values that label files hold."""

    opened: Opened
    label: np.ndarray
    origin: Origin = field(default_factory=dict)
    stopwatch: Stopwatch = field(default_factory=Stopwatch)


class Writer(Protocol):
    """Writes what was predicted of images of one kind: pictures, or scans."""

    def targets(self, source: Input) -> list[Path]:
        """All files that an input will have when it is done."""

    def is_done(self, source: Input, origin: Origin) -> bool:
        """Whether all of them are there, and were made from this very model, options and input."""

    def forget(self, source: Input) -> None:
        """Remove what an earlier run wrote of an input: if this one fails, nothing else stands for its result."""

    def write(self, source: Input, predicted: Predicted) -> list[Path]:
        """Write them, each complete or not there; those by which reports name the result."""

    def finish(self, origin: Origin) -> None:
        """Write what is said together of all results that have this model and these options."""


def check_no_overwrite(written: Iterable[Path], read: Iterable[str | Path]) -> None:
    """Raise ValueError where a file that is `written` would take the place of one that is `read`."""
    taken = {Path(path).resolve() for path in read}
    for path in written:
        if path.resolve() in taken:
            raise ValueError(f"a prediction would overwrite {path}, which is read from; give another output folder")


def model_digest(model: nn.Module, header: Header | None) -> str:
    """64 hexadecimal digits of the kind of a model, of what its header says, and of every number in its weights."""
    said = "" if header is None else json.dumps(header.as_dict(), sort_keys=True, default=str)
    layers = re.sub(r" at 0x[0-9a-f]+", "", f"{type(model).__qualname__} {model!r}")
    found = hashlib.sha256(f"{layers} {said}".encode())
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


def input_digest(paths: Iterable[Path]) -> str:
    """64 hexadecimal digits of all files that reading these paths looks at; empty where one cannot be read."""
    try:
        sums = [sha256(file) for path in paths for file in source_files(path)]
    except OSError:
        return ""  # which its reader reports
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


def is_same(one: Any, other: Origin) -> bool:
    """Whether what a result says of its origin agrees with `other` in all that it names; nothing agrees with none."""
    compared = [key for key in COMPARED if key in other]
    return isinstance(one, Mapping) and all(one.get(key) == other[key] != "" for key in compared)


def origin_digest(origin: Origin, **more: Any) -> str:
    """The same as 64 hexadecimal digits, for a file that has no room for all of it; `more` is JSON."""
    text = json.dumps([{key: origin.get(key) for key in COMPARED}, more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
