"""Text headers of NRRD and MetaImage, and the values that follow them: exactly as many bytes as the header says.

Decompression stops at that number, so that a small file cannot fill the memory.
"""

import zlib
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np

from densevit.volumes.formats.stored_volume import check_ratio, raise_system_error

CHUNK = 2**22
MOST_HEADER = 2**20  # bytes
FROM_THE_END = -1


@dataclass(frozen=True)
class TextHeader:
    """The fields of the header in `path`. Each method raises ValueError, with the file's name, for a bad one."""

    path: Path
    fields: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: str) -> None:
        """Take down a field, which may be there once."""
        if name in self.fields:
            before = self.fields[name]
            raise ValueError(f"{self.path} says its {name} twice, {before!r} and {value!r}; correct its header")
        self.fields[name] = value

    def text(self, name: str, default: str = "") -> str:
        """A field, which must be there unless it has a default."""
        value = self.fields.get(name, default)
        if not value:
            raise ValueError(f"{self.path} does not say its {name}; correct its header")
        return value

    def numbers(self, name: str, default: str = "", *, count: int) -> list[float]:
        return numbers(self.path, self.text(name, default), field=name, count=count)

    def integers(self, name: str, default: str = "", *, count: int) -> list[int]:
        values = self.numbers(name, default, count=count)
        if not all(value.is_integer() for value in values):  # neither is infinity, nor what is no number
            raise ValueError(f"{self.path} says {name} {self.text(name)!r}, and whole numbers are expected; correct it")
        return [int(value) for value in values]

    def place(self, name: str, skip: str, *, length: int) -> tuple[Path, int]:
        """In which file the values are, and from which byte on.

        `name` is that of a file in the header's folder or below, or empty where they follow the `length` bytes of the
        header; `skip` are further bytes, or "-1" for what lies before the last of them.
        """
        start = FROM_THE_END if skip == "-1" else int(skip)
        if not name:
            return self.path, start if start == FROM_THE_END else length + start
        if name.split()[:1] in ([], ["LIST"]) or "%" in name:
            raise ValueError(f"{self.path} takes its values from several files; save it as one")
        data = self.path.parent / name
        if not data.resolve().is_relative_to(self.path.parent.resolve()):
            raise ValueError(f"{self.path} takes its values from {name}, outside of its folder; put them beside it")
        if not data.is_file():
            raise ValueError(f"{self.path} takes its values from {name}, which is not there; put it beside the header")
        return data, start


def text_line(path: Path, line: bytes) -> str:
    """A line of a header, without its end; ValueError for characters that no text holds."""
    text = line.decode("utf-8", "replace").strip("\r\n")
    if any((ord(letter) < 32 and letter != "\t") or letter == "\x7f" for letter in text):
        raise ValueError(f"{path} is damaged: its header has the line {text[:80]!r}; get the file again")
    return text.strip()


def numbers(path: Path, text: str, *, field: str, count: int) -> list[float]:
    """The numbers in a text; ValueError for other words, or for another count."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != count:
        raise ValueError(f"{path} says {field} {text!r}, and {count} numbers are expected; correct it")
    return values


def read_values(
    header: Path, data: Path, start: int, *, compressed: bool, dtype: np.dtype, shape: tuple[int, ...]
) -> np.ndarray:
    """Values from byte `start` of the file `data` on, or the last bytes of a raw one (`FROM_THE_END`).

    `compressed` is zlib or gzip. ValueError, with the name of the header's file, for values that are missing, damaged
    or too many. OSError for a file that may not be read.
    """
    needed = prod(shape) * dtype.itemsize
    if compressed:
        check_ratio(header, data.stat().st_size, needed)
    try:
        with open(data, "rb") as file:
            content, more = _inflate(file, start, needed) if compressed else _take(file, start, needed)
    except (OSError, EOFError, zlib.error) as error:
        raise_system_error(error)
        raise ValueError(f"{header} is damaged ({error}); get the file again") from error
    if len(content) < needed:
        raise ValueError(
            f"{header} is damaged: {needed} bytes of values are expected, and {len(content)} are there; get it again"
        )
    if more:
        raise ValueError(f"{header} holds more than the {needed} bytes of values that it announces; correct its header")
    return np.frombuffer(content, dtype).reshape(shape)


def _take(file: BinaryIO, start: int, needed: int) -> tuple[bytes, bytes]:
    size = file.seek(0, 2)
    file.seek(max(0, size - needed) if start == FROM_THE_END else start)
    if size - file.tell() < needed:
        return file.read(), b""
    return file.read(needed), file.read(1)


def _inflate(file: BinaryIO, start: int, needed: int) -> tuple[bytearray, bytes]:
    """The decompressed bytes, and one more where there are more; EOFError for a stream that ends too soon."""
    file.seek(start)
    stream = zlib.decompressobj(47)  # zlib or gzip
    content, rest = bytearray(), b""
    while not stream.eof and len(content) <= needed:
        rest = rest or file.read(CHUNK)
        if not rest:
            raise EOFError("the compressed values end too soon")
        content += stream.decompress(rest, needed + 1 - len(content))
        rest = stream.unconsumed_tail
    return content[:needed], bytes(content[needed:])
