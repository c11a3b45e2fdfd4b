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
    names = [name for name, _ in chunks]
    if names[0] != b"IHDR" or len(chunks[0][1]) != 13:
        raise ValueError("its header is not that of a PNG")
    width, height, bits, color, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if color not in SAMPLES or (color == PALETTE) > (b"PLTE" in names) or (color in GREY and b"PLTE" in names):
        raise ValueError(
            f"its header says colour type {color}, and {'a' if b'PLTE' in names else 'no'} palette follows"
        )
    if b"IDAT" not in names:
        raise ValueError("it holds no pixels")
    packed = b"".join(body for name, body in chunks if name == b"IDAT")
    expected = _number_of_bytes(width, height, bits * SAMPLES[color], interlaced=bool(interlaced))
    raw = inflated(packed, most=expected + 1)
    if len(raw) != expected:
        more = "more" if len(raw) > expected else "fewer, as a decompression bomb does"
        raise ValueError(f"its header says {width} x {height} pixels of {bits} bits, and it holds {more}")
    first = names.index(b"IDAT")
    after = [chunk for chunk in chunks[first:] if chunk[0] != b"IDAT"]
    parts = (*chunks[:first], (b"IDAT", zlib.compress(raw, 0)), *after)
    return SIGNATURE + b"".join(_packed(name, body) for name, body in parts)


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


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each chunk up to the end of the picture; what follows there is no part of it."""
    place = len(SIGNATURE)
    while True:
        head = content[place : place + 8]
        end = place + 12 + int.from_bytes(head[:4], "big")
        if end > len(content) or len(head) < 8:
            raise ValueError("image file is truncated (the end of the PNG is missing)")
        name, body = head[4:], content[place + 8 : end - 4]
        if zlib.crc32(body, zlib.crc32(name)) != int.from_bytes(content[end - 4 : end], "big"):
            raise ValueError(f"unrecognized data stream: the checksum of its part {name!r} is wrong")
        yield name, body
        if name == b"IEND":
            return
        place = end


def _packed(name: bytes, body: bytes) -> bytes:
    checksum = 0 if name == b"IDAT" else zlib.crc32(body, zlib.crc32(name))  # which PIL does not look at in pixels
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


def _number_of_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Of all rows, each with the byte that names its filter."""
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(ceil((width - x) / dx), ceil((height - y) / dy)) for x, y, dx, dy in passes]
    return sum(rows * (1 + ceil(columns * bits / 8)) for columns, rows in sizes if columns > 0 and rows > 0)
