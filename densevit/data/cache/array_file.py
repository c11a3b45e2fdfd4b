"""Several arrays in one file that is mapped into memory, whose damage is noticed."""

import json
import mmap
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"densevit arrays 1\n"
ALIGN = 64  # bytes: where each array begins
KINDS = "biufS"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays of numbers: a line that says what it is, one of JSON that says where each lies, then their bytes."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    table, start, checksum = {}, 0, 0
    for name, array in contiguous.items():
        if array.dtype.kind not in KINDS:
            raise ValueError(f"the array {name!r} holds {array.dtype} values, and numbers alone can be kept")
        table[name] = dict(dtype=array.dtype.str, shape=list(array.shape), start=start)
        padding = -array.nbytes % ALIGN
        checksum = zlib.crc32(bytes(padding), zlib.crc32(_bytes(array), checksum))
        start += array.nbytes + padding
    head = json.dumps(dict(arrays=table, bytes=start, crc32=checksum)).encode() + b"\n"
    head = MAGIC + head.rjust(len(head) + -(len(MAGIC) + len(head)) % ALIGN)
    with path.open("wb") as file:
        file.write(head)
        for array in contiguous.values():
            file.write(_bytes(array))
            file.write(bytes(-array.nbytes % ALIGN))


def map_arrays(path: Path, *, verify: bool) -> dict[str, np.ndarray]:
    """The arrays of a file, as pages of it: writing to them changes this process's copy alone.

    ValueError for what is no such file or shorter than it says; `verify` reads all of it and compares its checksum.
    """
    with path.open("rb") as file:
        if file.readline(len(MAGIC)) != MAGIC:
            raise ValueError(f"{path} holds no arrays of this version")
        table = _table(file.readline(), path)
        begin = file.tell()
        file.seek(0, 2)
        if file.tell() != begin + table["bytes"]:
            raise ValueError(f"{path} has {file.tell()} bytes in place of {begin + table['bytes']}")
        pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    if verify:
        with memoryview(pages) as whole, whole[begin:] as data:
            if zlib.crc32(data) != table["crc32"]:
                raise ValueError(f"{path} is damaged: its checksum is another")
    return {name: _array(pages, begin, **place) for name, place in table["arrays"].items()}


def _table(line: bytes, path: Path) -> dict[str, Any]:
    try:
        table = json.loads(line)
        return dict(arrays=dict(table["arrays"]), bytes=int(table["bytes"]), crc32=int(table["crc32"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not say what it holds ({error})") from None


def _array(pages: mmap.mmap, begin: int, *, dtype: str, shape: list[int], start: int) -> np.ndarray:
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(pages, np.dtype(dtype), count=count, offset=begin + start if count else 0).reshape(shape)


def _bytes(array: np.ndarray) -> memoryview:
    return array.reshape(-1).view(np.uint8).data
