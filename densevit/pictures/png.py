"""PNG files checked whole: PIL verifies neither the checksums of the pixels nor how many of them there are."""

import struct
import zlib
from collections.abc import Iterator
from math import ceil

SIGNATURE = b"\x89PNG\r\n\x1a\n"
SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of each colour type
GREY, PALETTE = (0, 4), 3
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def unpacked(content: bytes) -> bytes:
    """The PNG with its pixels inflated, so that they are unpacked once for checking and decoding.

    ValueError, without the file's name, for a wrong checksum, a number of pixels that is not what the header says, a
    palette that is missing or out of place, and a file that is cut off.
    """
    chunks = list(_chunks(content))
    names = [name for name, _, _ in chunks]
    if content[8:16] != b"\0\0\0\x0dIHDR":
        raise ValueError("its header is not that of a PNG")
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    if color not in SAMPLES or (color == PALETTE) > (b"PLTE" in names) or (color in GREY and b"PLTE" in names):
        raise ValueError(
            f"its header says colour type {color}, and {'a' if b'PLTE' in names else 'no'} palette follows"
        )
    pixels = [(start, end) for name, start, end in chunks if name == b"IDAT"]
    if not pixels:
        raise ValueError("it holds no pixels")
    packed = b"".join(content[start + 8 : end - 4] for start, end in pixels)
    expected = _number_of_bytes(width, height, bits * SAMPLES[color], interlaced=bool(interlaced))
    raw = inflated(packed, most=expected + 1)
    if len(raw) != expected:
        more = "more" if len(raw) > expected else "fewer, as a decompression bomb does"
        raise ValueError(f"its header says {width} x {height} pixels of {bits} bits, and it holds {more}")
    stored = zlib.compress(raw, 0)
    chunk = struct.pack(">I", len(stored)) + b"IDAT" + stored + bytes(4)  # PIL does not look at this checksum
    return content[: pixels[0][0]] + chunk + content[pixels[-1][1] :]


def inflated(packed: bytes, *, most: int) -> bytes:
    """What packed bytes hold, up to `most` bytes; ValueError, without the file's name, for damage."""
    inflater = zlib.decompressobj()
    try:
        held = inflater.decompress(packed, most)
    except zlib.error as error:
        raise ValueError(f"its pixels are damaged ({error})") from None
    if len(held) < most and not inflater.eof:
        raise ValueError("its pixels are damaged (their end is missing)")
    return held


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk, and where it begins and ends, up to the end of the picture; what follows is no part of it."""
    start = len(SIGNATURE)
    while True:
        head = content[start : start + 8]
        end = start + 12 + int.from_bytes(head[:4], "big")
        if end > len(content) or len(head) < 8:
            raise ValueError("image file is truncated (the end of the PNG is missing)")
        if zlib.crc32(content[start + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            raise ValueError(f"unrecognized data stream: the checksum of its part {head[4:]!r} is wrong")
        yield head[4:], start, end
        if head[4:] == b"IEND":
            return
        start = end


def _number_of_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Of all rows, each with the byte that names its filter."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(ceil((width - x) / dx), ceil((height - y) / dy)) for x, y, dx, dy in passes]
    return sum(rows * (1 + ceil(columns * bits / 8)) for columns, rows in sizes if columns > 0 and rows > 0)
