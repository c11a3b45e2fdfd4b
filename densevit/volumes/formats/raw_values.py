"""Values that follow a text header, raw or compressed: exactly as many bytes as the header says, or an error.

Decompression stops at that number, so that a small file cannot fill the memory.
"""

import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from densevit.texts import format_bytes

CHUNK = 2**22
MOST_EMPTY, MOST_RATIO = (
    2**30,
    200,
)  # bytes of values that any file may announce, and times its own that a larger one may
MOST_HEADER = 2**20  # bytes
FROM_THE_END = -1


def read_values(header: Path, data: Path, *, offset: int, compressed: bool, dtype: np.dtype, count: int) -> np.ndarray:
    """`count` values of `dtype` from byte `offset` of the file `data`, in one dimension.

    `compressed` is zlib or gzip; the offset `FROM_THE_END` takes the last bytes of a raw file. ValueError, with the
    name of the header's file, for values that are missing, damaged or too many. OSError for a file that may not be
    read.
    """
    needed = count * dtype.itemsize
    if compressed:
        check_ratio(header, data.stat().st_size, needed)
    try:
        with open(data, "rb") as file:
            content, more = _inflate(file, offset, needed) if compressed else _take(file, offset, needed)
    except (OSError, EOFError, zlib.error) as error:
        raise_system_error(error)
        raise ValueError(f"{header} is damaged ({error}); get the file again") from error
    if len(content) < needed:
        raise ValueError(
            f"{header} is damaged: {needed} bytes of values are expected, and {len(content)} are there; get it again"
        )
    if more:
        raise ValueError(f"{header} holds more than the {needed} bytes of values that it announces; correct its header")
    return np.frombuffer(content, dtype)


def check_ratio(path: Path, there: int, needed: int) -> None:
    """ValueError for a compressed file of `there` bytes that would hold a job for minutes, for values that must nearly
    all be the same: `needed` bytes, over `MOST_EMPTY` and over `MOST_RATIO` times as many.
    """
    if needed > max(MOST_EMPTY, MOST_RATIO * there):
        raise ValueError(
            f"{path} has {format_bytes(there)}, and its header announces {format_bytes(needed)} of values, nearly "
            "all of them the same; correct the header, or decompress the file first if it is right"
        )


def raise_system_error(error: Exception) -> None:
    """Raise what the system says of a file, such as that it may not be read; libraries' own errors have no number."""
    if isinstance(error, OSError) and error.errno:
        raise error


def data_file(header: Path, name: str) -> Path:
    """The file of values that a header names, which must lie in the header's folder or below."""
    path = header.parent / name
    if not path.resolve().is_relative_to(header.parent.resolve()):
        raise ValueError(f"{header} takes its values from {name}, outside of its folder; put them beside it")
    if not path.is_file():
        raise ValueError(f"{header} takes its values from {name}, which is not there; put it beside the header")
    return path


def text_line(header: Path, line: bytes) -> str:
    """A line of a header, without its end; ValueError for characters that no text holds."""
    text = line.decode("utf-8", "replace").strip("\r\n")
    if any((ord(letter) < 32 and letter != "\t") or letter == "\x7f" for letter in text):
        raise ValueError(f"{header} is damaged: its header has the line {text[:80]!r}; get the file again")
    return text.strip()


def add_field(header: Path, fields: dict[str, str], name: str, value: str) -> None:
    """Take down a field; ValueError for one that is there twice."""
    if name in fields:
        raise ValueError(f"{header} says its {name} twice, {fields[name]!r} and {value!r}; correct its header")
    fields[name] = value


def numbers(header: Path, text: str, *, field: str, count: int | None = None) -> list[float]:
    """The numbers of a header's line; ValueError for other text, or for another count."""
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if not values or count not in (None, len(values)):
        raise ValueError(f"{header} says {field} {text!r}, and {count or 'some'} numbers are expected; correct it")
    return values


def integers(header: Path, text: str, *, field: str, count: int | None = None) -> list[int]:
    """The whole numbers of a header's line; ValueError for other text, or for another count."""
    values = numbers(header, text, field=field, count=count)
    if not all(value.is_integer() for value in values):  # neither is infinity, nor what is no number
        raise ValueError(f"{header} says {field} {text!r}, and whole numbers are expected; correct it")
    return [int(value) for value in values]


def _take(file: BinaryIO, offset: int, needed: int) -> tuple[bytes, bytes]:
    size = file.seek(0, 2)
    file.seek(max(0, size - needed) if offset == FROM_THE_END else offset)
    if size - file.tell() < needed:
        return file.read(), b""
    return file.read(needed), file.read(1)


def _inflate(file: BinaryIO, offset: int, needed: int) -> tuple[bytearray, bytes]:
    """The decompressed bytes, and one more where there are more; EOFError for a stream that ends too soon."""
    file.seek(offset)
    stream = zlib.decompressobj(47)  # zlib or gzip
    content, rest = bytearray(), b""
    while not stream.eof and len(content) <= needed:
        rest = rest or file.read(CHUNK)
        if not rest:
            raise EOFError("the compressed values end too soon")
        content += stream.decompress(rest, needed + 1 - len(content))
        rest = stream.unconsumed_tail
    return content[:needed], bytes(content[needed:])
