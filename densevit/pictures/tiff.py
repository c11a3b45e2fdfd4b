"""What the tags of a TIFF file say of its picture, and whether the file holds all that they say."""

from collections.abc import Mapping
from io import BytesIO
from math import ceil
from struct import pack, unpack_from
from typing import Any, BinaryIO

import numpy as np
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as Tags

from densevit.pictures.png import inflated

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, ORIENTATION, SAMPLES, ROWS, STRIP_BYTES, PLANAR, PREDICTOR = 273, 274, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, EXTRA, FORMAT = 322, 323, 324, 325, 338, 339
WHITE, GREY, RGB, YCBCR = 0, 1, 2, 6  # of PHOTOMETRIC; WHITE: grey whose 0 is white
COLORS = {WHITE: 1, GREY: 1, RGB: 3, 3: 1, 5: 4, YCBCR: 3, 8: 3}  # samples that show something, by PHOTOMETRIC
JPEG = (6, 7, 34892)  # of COMPRESSION: bands are mixed there, not laid side by side
NONE, DEFLATE = 1, (8, 32946)  # of COMPRESSION
SEPARATE = 2  # of PLANAR: one band after another
ALPHA = (1, 2)  # of EXTRA
STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two have addresses of eight bytes


def read_tags(file: BinaryIO) -> Tags | None:
    """The tags of a TIFF's first picture; None for another file."""
    start = file.read(8)
    if start[:4] not in STARTS:
        return None
    tags = Tags(start + (file.read(8) if b"+" in start[:4] else b""))
    file.seek(tags.next)
    tags.load(file)
    return tags


def orientation_of(tags: Mapping[int, Any]) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is not said or no such number."""
    orientation = tags.get(ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def holds_several(tags: Tags, content: bytes) -> bool:
    """Whether a second picture is neither a smaller copy nor a mask, as bits of NewSubfileType say."""
    if not tags.next:
        return False
    second, stream = Tags(content[:16] if b"+" in content[:4] else content[:8]), BytesIO(content)
    stream.seek(tags.next)
    second.load(stream)
    same_size = (second.get(WIDTH), second.get(HEIGHT)) == (tags[WIDTH], tags[HEIGHT])
    return same_size and not second.get(SUBFILE, 0) & 0b101


def extra_bands(tags: Mapping[int, Any]) -> int:
    """Bands beyond grey or colours that are no alpha: near infrared, for example."""
    extra = np.atleast_1d(tags.get(EXTRA, ()))
    samples = tags.get(SAMPLES, 1) - int(np.isin(extra, ALPHA).sum())
    colors = COLORS.get(tags.get(PHOTOMETRIC), samples)
    undeclared = EXTRA not in tags and samples == colors + 1 == 4  # RGBA of old programs
    return max(0, samples - colors - undeclared)


def counted_from_black(content: bytes) -> bytes:
    """The file of grey whose 0 is white, with a tag that says black: decoders then leave the numbers as they are."""
    order, big = "<" if content[:2] == b"II" else ">", b"+" in content[:4]
    (start,) = unpack_from(f"{order}{'Q' if big else 'I'}", content, 8 if big else 4)
    (count,) = unpack_from(f"{order}{'Q' if big else 'H'}", content, start)
    first, step, width = (start + 8, 20, 8) if big else (start + 2, 12, 4)
    for end in range(first + step, first + step * (count + 1), step):
        if unpack_from(f"{order}H", content, end - step) == (PHOTOMETRIC,):
            return content[: end - width] + pack(f"{order}H", GREY) + content[end - width + 2 :]
    return content


def check_complete(tags: Mapping[int, Any], content: bytes) -> None:
    """Raise ValueError, without the file's name, where strips or tiles are missing, cut off, damaged, or do not hold
    the pixels that the tags say."""
    width, height, samples = tags[WIDTH], tags[HEIGHT], tags.get(SAMPLES, 1)
    tiled = TILE_OFFSETS in tags
    columns = tags[TILE_WIDTH] if tiled else width
    rows = tags[TILE_HEIGHT] if tiled else min(tags.get(ROWS, height), height)
    if min(columns, rows) < 1:
        raise ValueError("its strips or tiles have no pixels")
    planes = samples if tags.get(PLANAR) == SEPARATE else 1
    down = ceil(height / rows)
    number = ceil(width / columns) * down * planes
    keys = (TILE_OFFSETS, TILE_BYTES) if tiled else (STRIP_OFFSETS, STRIP_BYTES)
    offsets, sizes = (np.atleast_1d(tags.get(key, ())).astype(np.int64)[:number] for key in keys)
    if len(offsets) < number or 0 < len(sizes) < number:
        raise ValueError(f"its {len(offsets)} strips or tiles do not cover {width} x {height} pixels")
    if not len(sizes) or tags.get(PHOTOMETRIC) == YCBCR:
        return
    if (offsets + sizes).max() > len(content) or min(offsets.min(), sizes.min()) <= 0:
        raise ValueError("image file is truncated, or a strip or tile of it is missing")
    if tags.get(COMPRESSION, NONE) not in (NONE, *DEFLATE):
        return  # only decoding tells how much there is
    bits = np.atleast_1d(tags.get(BITS, 1)).astype(np.int64)
    row = ceil(columns * int(bits.sum() if len(bits) == samples else bits[0] * samples) / planes / 8)
    for i, (offset, size) in enumerate(zip(offsets.tolist(), sizes.tolist(), strict=True)):
        held = size
        if tags.get(COMPRESSION) in DEFLATE:
            held = len(inflated(content[offset : offset + size], most=row * (rows + 1)))
        needed = row * (height - rows * (down - 1) if not tiled and i % down == down - 1 else rows)
        if not needed <= held < needed + row and held != row * rows:
            more = "more" if held > needed else "fewer"
            raise ValueError(f"it should have {width} x {height} pixels of {bits.tolist()} bits, and holds {more}")
