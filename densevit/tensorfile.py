"""Writing safetensors files: the same content gives the same bytes, and the file is as the umask has it.

The package safetensors is what reads them. Its own writer puts the metadata in another order each time, lets nobody but
the owner read the file, and does not say which of the system's errors ended it.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

Arrays = Mapping[str, Tensor | np.ndarray]  # contiguous, on the CPU
# The names of types in the format, by those that numpy and torch share.
TYPES = {
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **dict(bool="BOOL", bfloat16="BF16", complex64="C64", float8_e4m3fn="F8_E4M3", float8_e5m2="F8_E5M2"),
    **dict(float8_e4m3fnuz="F8_E4M3FNUZ", float8_e5m2fnuz="F8_E5M2FNUZ"),
}


def write_tensors(path: Path, arrays: Arrays, *, metadata: Mapping[str, str]) -> None:
    """Write a file in place; ValueError for a type that the format does not have, OSError when it cannot be written."""
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # which keeps every array aligned
    begin = 0
    for name in names:
        end = begin + arrays[name].nbytes
        header[name] = dict(dtype=_kind(arrays, name), shape=list(arrays[name].shape), data_offsets=[begin, end])
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_bytes(arrays[name]))


def digest(arrays: Arrays, text: str) -> str:
    """The SHA-256 of names, types, shapes and values, and of a text that goes with them."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        found.update(json.dumps([name, _kind(arrays, name), list(arrays[name].shape)]).encode())
        found.update(_bytes(arrays[name]))
    return found.hexdigest()


def _kind(arrays: Arrays, name: str) -> str:
    kind = str(arrays[name].dtype).removeprefix("torch.")
    if kind not in TYPES:
        raise ValueError(f"{name} is of the type {kind}, which safetensors files do not hold; convert it to float32")
    return TYPES[kind]


def _bytes(array: Tensor | np.ndarray) -> memoryview:
    flat = array.reshape(-1)
    return (flat.view(torch.uint8).numpy() if isinstance(flat, Tensor) else flat.view(np.uint8)).data
