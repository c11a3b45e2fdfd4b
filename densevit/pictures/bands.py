"""Bands of TIFF files for which PIL has no pixel type: any number of them, whole or floating-point numbers.

A row of W pixels of C samples of b bytes lies in the file as a row of W * C * b grey pixels of one byte would. So PIL
is shown the strips or tiles as one wide grey picture, which it decodes, and the numbers are told apart afterwards.
"""

import struct
from collections.abc import Mapping
from io import BytesIO
from os import PathLike
from typing import Any

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Tags
from PIL.TiffImagePlugin import TiffImageFile

MAX_PIXELS = 178_956_970  # PIL's own limit, above which a file counts as a decompression bomb
MAX_BYTES = 16  # a pixel of so many pixels may have
SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, ORIENTATION, SAMPLES = 254, 256, 257, 258, 259, 262, 274, 277
STRIP_OFFSETS, ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
GREY, RGB = 1, 2  # of PHOTOMETRIC
JPEG = (6, 7, 34892)  # of COMPRESSION: bands are mixed there, not laid side by side
SEPARATE = 2  # of PLANAR: one band after another
DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # of PREDICTOR: each number less the one to its left
ALPHA = (1, 2)  # of EXTRA
KINDS = {1: "u", 2: "i", 3: "f"}  # of FORMAT


def read_bands(path: str | PathLike, *, channels: int) -> tuple[np.ndarray, int] | None:
    """(H, W, C) as stored, and its EXIF orientation; None for what is left to PIL.

    That is: other files, grey of 1 to 16 bits, and an alpha band that is not among the `channels` wanted.

    ValueError, without the file's name, for bands of different types or of an unknown one, several pages, and a file
    that is cut off or too large.
    """
    tags = read_tags(path)
    if tags is None or tags.get(PHOTOMETRIC) not in (GREY, RGB) or tags.get(COMPRESSION, 1) in JPEG:
        return None
    count = tags.get(SAMPLES, 1)
    if count == 1 and tags.get(BITS, (1,))[0] <= 16 and tags.get(FORMAT, (1,))[0] == 1:
        return None
    if count == channels + 1 and np.atleast_1d(tags.get(EXTRA, 0))[-1] in ALPHA:
        return None
    with open(path, "rb") as file:
        content = file.read()
    dtype = _dtype(tags, order="<" if content[:2] == b"II" else ">")
    if tags[WIDTH] * tags[HEIGHT] * max(1, count * dtype.itemsize / MAX_BYTES) > MAX_PIXELS:
        raise ValueError(f"it has {tags[WIDTH]} x {tags[HEIGHT]} pixels of {count} bands; cut it into tiles")
    if _is_stack(tags, content):
        raise ValueError("it holds several pages or frames, and one picture is expected")
    parts = [(i, count) for i in range(count)] if tags.get(PLANAR) == SEPARATE else [(0, 1)]
    bands = [_decode(content, tags, dtype, samples=count // len(parts), part=part) for part in parts]
    return np.concatenate(bands, axis=-1), orientation_of(tags)


def read_tags(path: str | PathLike) -> Tags | None:
    """The tags of a TIFF's first picture; None for another file."""
    with open(path, "rb") as file:
        start = file.read(8)
        if start[:4] not in (b"II*\0", b"MM\0*"):
            return None
        tags = Tags(start)
        file.seek(tags.next)
        tags.load(file)
    return tags


def orientation_of(tags: Mapping[int, Any]) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is not said or no such number."""
    orientation = tags.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def _is_stack(tags: Tags, content: bytes) -> bool:
    """Whether a second picture is neither a smaller copy nor a mask, as bits of NewSubfileType say."""
    if not tags.next:
        return False
    second, stream = Tags(content[:8]), BytesIO(content)
    stream.seek(tags.next)
    second.load(stream)
    return (second[WIDTH], second[HEIGHT]) == (tags[WIDTH], tags[HEIGHT]) and not second.get(SUBFILE, 0) & 0b101


def _dtype(tags: Tags, *, order: str) -> np.dtype:
    bits, kinds = set(tags.get(BITS, (1,))), set(tags.get(FORMAT, (1,)))
    kind, size = KINDS.get(next(iter(kinds))), next(iter(bits)) // 8
    if len(bits) > 1 or len(kinds) > 1 or kind is None or size not in ((2, 4, 8) if kind == "f" else (1, 2, 4)):
        raise ValueError(f"its bands have {sorted(bits)} bits; save all of them with 8, 16 or 32")
    return np.dtype(f"{order}{kind}{size}")


def _decode(content: bytes, tags: Tags, dtype: np.dtype, *, samples: int, part: tuple[int, int]) -> np.ndarray:
    """(H, W, samples) of one of equal parts of the strips or tiles."""
    tiled, factor = TILE_OFFSETS in tags, samples * dtype.itemsize
    offsets, sizes = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
    width, height = tags[WIDTH], tags[HEIGHT]
    shown = {key: tags[key] for key in (COMPRESSION, ROWS, TILE_HEIGHT) if key in tags}
    shown |= {WIDTH: width * factor, HEIGHT: height, BITS: 8, PHOTOMETRIC: GREY, SAMPLES: 1}
    shown |= {TILE_WIDTH: tags[TILE_WIDTH] * factor} if tiled else {}
    for key in (offsets, sizes):
        number = len(tags[key]) // part[1]
        shown[key] = tags[key][part[0] * number : (part[0] + 1) * number]
    if max(map(sum, zip(shown[offsets], shown[sizes], strict=True))) > len(content):
        raise ValueError("image file is truncated")
    with TiffImageFile(BytesIO(_with_table(content, shown))) as image:
        stored = np.asarray(image).reshape(height, width, factor)
    step = tags[TILE_WIDTH] if tiled else width
    parts = [_undo(stored[:, x : x + step], tags.get(PREDICTOR, 1), dtype, samples) for x in range(0, width, step)]
    return np.concatenate(parts, axis=1)


def _with_table(content: bytes, tags: dict[int, int | tuple[int, ...]]) -> bytes:
    """The file with another table of tags, behind all else."""
    order = "<" if content[:2] == b"II" else ">"
    start = len(content) + len(content) % 2
    table, more, end = [], b"", start + 2 + 12 * len(tags) + 4
    for key, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            packed, more = struct.pack(f"{order}I", end + len(more)), more + packed
        table.append(struct.pack(f"{order}HHI", key, 4, len(values)) + packed)
    head = content[:4] + struct.pack(f"{order}I", start)
    count = struct.pack(f"{order}H", len(tags))
    return b"".join((head, content[8:].ljust(start - 8, b"\0"), count, *table, bytes(4), more))


def _undo(stored: np.ndarray, predictor: int, dtype: np.dtype, samples: int) -> np.ndarray:
    """(H, W, bytes of a pixel) -> (H, W, samples): what was stored as differences is summed up along the rows."""
    height, width, _ = stored.shape
    stored, native = np.ascontiguousarray(stored), dtype.newbyteorder("=")
    if predictor == FLOAT_DIFFERENCES:  # of bytes: the highest of all numbers first, the lowest last
        summed = np.cumsum(stored.reshape(height, -1, samples), axis=1, dtype=np.uint8)
        planes = summed.reshape(height, dtype.itemsize, width * samples).transpose(0, 2, 1)
        big_endian = np.ascontiguousarray(planes).view(dtype.newbyteorder(">"))
        return big_endian.reshape(height, width, samples).astype(native)
    values = stored.view(dtype).astype(native)
    return np.cumsum(values, axis=1, dtype=native) if predictor == DIFFERENCES else values
