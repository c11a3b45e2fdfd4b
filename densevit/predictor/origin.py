"""What a result was made from, kept beside it: another model, other options or another file never pass for the same."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from densevit.checkpoint import Header
from densevit.data.cache.findings import source_files
from densevit.files import sha256

COMPARED = ("model", "options", "input")  # of an origin; its "checkpoint" is for the reader alone
Origin = Mapping[str, Any]


def model_digest(model: nn.Module, header: Header) -> str:
    """64 hexadecimal digits of the kind of a model, of what its header says, and of every number in its weights."""
    layers = re.sub(r" at 0x[0-9a-f]+", "", f"{type(model).__qualname__} {model!r}")
    found = hashlib.sha256(f"{layers} {json.dumps(header.as_dict(), sort_keys=True, default=str)}".encode())
    for name, value in model.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(as_bytes(value))
    return found.hexdigest()


def as_bytes(values: Tensor) -> memoryview:
    """The bytes of a tensor of any type and device, in the order of its elements."""
    flat = values.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def input_digest(paths: Iterable[Path]) -> str:
    """64 hexadecimal digits of all files that reading these paths looks at; empty where one cannot be read."""
    try:
        sums = [sha256(file) for path in paths for file in source_files(path)]
    except OSError:
        return ""  # which its reader reports
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()


def as_json(content: Any) -> Any:
    """As JSON gives it back, with lists for tuples."""
    return json.loads(json.dumps(content))


def is_same(one: Any, other: Origin) -> bool:
    """Whether what a result says of its origin agrees with `other` in all that it names; nothing agrees with none."""
    compared = [key for key in COMPARED if key in other]
    return isinstance(one, Mapping) and all(one.get(key) == other[key] != "" for key in compared)


def origin_digest(origin: Origin, **more: Any) -> str:
    """The same as 64 hexadecimal digits, for a file that has no room for all of it; `more` is JSON."""
    text = json.dumps([{key: origin.get(key) for key in COMPARED}, more], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
