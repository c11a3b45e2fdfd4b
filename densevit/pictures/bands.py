"""Bands of TIFF files for which PIL has no pixel type: any number of them, whole or floating-point numbers.

A row of W pixels of C samples of b bytes lies in the file as a row of W * C * b grey pixels of one byte would. So PIL
is shown the strips or tiles as one wide grey picture, which it decodes, and the numbers are told apart afterwards.
"""

import struct
from io import BytesIO
from os import PathLike

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Tags
from PIL.TiffImagePlugin import TiffImageFile

from densevit.pictures import tiff
from densevit.pictures.opening import check_size, make_memory

DIFFERENCES, FLOAT_DIFFERENCES = 2, 3  # of the tag PREDICTOR: each number less the one to its left
KINDS = {1: "u", 2: "i", 3: "f"}  # of the tag FORMAT


def read_bands(path: str | PathLike, *, channels: int) -> tuple[np.ndarray, int] | None:
    """(H, W, C) as stored, and its EXIF orientation; None for what is left to PIL: other files, grey of 1 to 16 bits.

    Bands whose 0 is white are turned round, so that more is lighter. An opaque alpha band that is not among the
    `channels` wanted is left out. ValueError, without the file's name, for bands of different types or of an unknown
    one, several pages, and a file that is cut off, damaged or too large.
    """
    with open(path, "rb") as file:
        tags = tiff.read_tags(file)
        if tags is None or not _is_ours(tags):
            return None
        file.seek(0)
        content = file.read()
    count = tags.get(tiff.SAMPLES, 1)
    dtype = _dtype(tags, order="<" if content[:2] == b"II" else ">")
    check_size((tags[tiff.WIDTH], tags[tiff.HEIGHT]), count)
    if tiff.holds_several(tags, content):
        raise ValueError("it holds several pages or frames, and one picture is expected")
    tiff.check_complete(tags, content)
    parts = [(i, count) for i in range(count)] if tags.get(tiff.PLANAR) == tiff.SEPARATE else [(0, 1)]
    bands = [_decode(content, tags, dtype, samples=count // len(parts), part=part) for part in parts]
    pixels = np.concatenate(bands, axis=-1)
    if tags[tiff.PHOTOMETRIC] == tiff.WHITE:
        if pixels.dtype.kind != "u":
            raise ValueError(f"its {pixels.dtype} numbers count from white, and nobody knows which is black")
        pixels = np.iinfo(pixels.dtype).max - pixels
    if count == channels + 1 and np.atleast_1d(tags.get(tiff.EXTRA, 0))[-1] in tiff.ALPHA:
        pixels = _without_alpha(pixels)
    return pixels, tiff.orientation_of(tags)


def _is_ours(tags: Tags) -> bool:
    """Whether the bytes of the pixels lie in the file as they are, or packed without loss."""
    plain = tags.get(tiff.PHOTOMETRIC) in (tiff.WHITE, tiff.GREY, tiff.RGB) and tags.get(tiff.FILL_ORDER, 1) == 1
    whole = tags.get(tiff.BITS, (1,))[0] <= 16 and tags.get(tiff.FORMAT, (1,))[0] == 1
    grey = tags.get(tiff.SAMPLES, 1) == 1 and whole
    return plain and not grey and tags.get(tiff.COMPRESSION, 1) not in tiff.JPEG


def _without_alpha(pixels: np.ndarray) -> np.ndarray:
    peak = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else 1
    if (pixels[..., -1] != peak).any():
        raise ValueError(
            "it has transparent pixels, which have no colour; save it on an opaque background, or set "
            f"in_channels={pixels.shape[2]} to see them"
        )
    return pixels[..., :-1]


def _dtype(tags: Tags, *, order: str) -> np.dtype:
    bits, kinds = set(tags.get(tiff.BITS, (1,))), set(tags.get(tiff.FORMAT, (1,)))
    kind, size = KINDS.get(next(iter(kinds))), next(iter(bits)) // 8
    if len(bits) > 1 or len(kinds) > 1 or kind is None or size not in ((2, 4, 8) if kind == "f" else (1, 2, 4)):
        raise ValueError(f"its bands have {sorted(bits)} bits; save all of them with 8, 16 or 32")
    return np.dtype(f"{order}{kind}{size}")


def _decode(content: bytes, tags: Tags, dtype: np.dtype, *, samples: int, part: tuple[int, int]) -> np.ndarray:
    """(H, W, samples) of one of equal parts of the strips or tiles."""
    tiled, factor = tiff.TILE_OFFSETS in tags, samples * dtype.itemsize
    offsets, sizes = (tiff.TILE_OFFSETS, tiff.TILE_BYTES) if tiled else (tiff.STRIP_OFFSETS, tiff.STRIP_BYTES)
    width, height = tags[tiff.WIDTH], tags[tiff.HEIGHT]
    shown = {key: tags[key] for key in (tiff.HEIGHT, tiff.COMPRESSION, tiff.ROWS, tiff.TILE_HEIGHT) if key in tags}
    shown |= {key: tags[key] * factor for key in (tiff.WIDTH, tiff.TILE_WIDTH) if key in tags}
    shown |= {tiff.BITS: 8, tiff.PHOTOMETRIC: tiff.GREY, tiff.SAMPLES: 1}
    for key in (offsets, sizes):
        number = len(tags[key]) // part[1]
        shown[key] = tags[key][part[0] * number : (part[0] + 1) * number]
    with TiffImageFile(BytesIO(_with_table(content, shown))) as image:
        make_memory(image)
        stored = np.asarray(image).reshape(height, width, factor)
    step = tags[tiff.TILE_WIDTH] if tiled else width
    parts = [_undo(stored[:, x : x + step], tags.get(tiff.PREDICTOR, 1), dtype, samples) for x in range(0, width, step)]
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
    head = content[:2] + struct.pack(f"{order}HI", 42, start)
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
