"""JPEG files looked at more closely than decoders do: they have no checksums, and libjpeg paints grey over damage.

What can be told without decoding twice: markers that do not belong there, tables that no encoder writes, long zeros
that no photo has, and pixel data that end too early or too late for the size that the header says.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil

import numpy as np
from PIL import Image

from densevit.pictures.huffman import ends_with_its_data, read_table

SOI, EOI, SOS, DQT, DHT, DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
SEQUENTIAL = {0xC0, 0xC1}  # of frames: one Huffman-coded scan after another, top to bottom
PROGRESSIVE = 0xC2  # of frames: many scans, which a decoder does not show one by one
ZEROS = bytes(16)
SHORT = 4096  # bytes of a scan whose codes are always followed
TAIL = 16  # bytes of pixel data that a decoder may or may not have looked at ahead
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff(?![\x00\xd0-\xd7])")
_RESTART = re.compile(rb"\xff(?=[\xd0-\xd7])")


@dataclass
class _Seen:
    """What the segments said so far. `components`: (horizontal, vertical) factors by number; `tables`: 16 counts and
    the symbols of each Huffman table, by class and number."""

    frame: int = 0
    size: tuple[int, int] = (0, 0)
    components: dict[int, tuple[int, int]] = field(default_factory=dict)
    tables: dict[int, bytes] = field(default_factory=dict)
    interval: int = 0
    scans: list[tuple[int, int]] = field(default_factory=list)


def check_structure(content: bytes) -> tuple[int, int] | None:
    """Walk through a JPEG up to its end; ValueError, without the file's name, for damage.

    Returns where the pixel data of its only scan begin and end, where `Watched` can look at them; None for others.
    """
    seen, place = _Seen(), 2
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == EOI:
            single = len(seen.scans) == 1 and seen.frame in SEQUENTIAL and not seen.interval
            return seen.scans[0] if single else None
        if marker == SOI or 0xD0 <= marker < SOI or marker == 1:
            continue
        if marker < 0xC0:
            raise ValueError(f"it holds the marker {marker:#x}, which no JPEG has: a part of it is damaged")
        length = int.from_bytes(content[place : place + 2], "big")
        body = content[place + 2 : place + length]
        _read_segment(seen, marker, body)
        place += length
        if marker == SOS:
            place = _check_scan(seen, content, body, place)
    raise ValueError("image file is truncated (the end of the JPEG is missing)")


def _read_segment(seen: _Seen, marker: int, body: bytes) -> None:
    if marker in FRAMES:
        seen.frame = marker
        seen.size = (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"))
        seen.components = {body[i]: (body[i + 1] >> 4, body[i + 1] & 15) for i in range(6, 6 + 3 * body[5], 3)}
    elif marker == DRI:
        seen.interval = int.from_bytes(body[:2], "big")
    elif marker == DQT:
        while body:
            width = 2 if body[0] >> 4 else 1
            steps, body = body[1 : 1 + 64 * width], body[1 + 64 * width :]
            if not np.frombuffer(steps, f">u{width}").all():
                raise ValueError("its quantization tables hold 0, which no JPEG has: a part of it is damaged")
    elif marker == DHT:
        while len(body) > 17:
            end = 17 + sum(body[1:17])
            seen.tables[body[0]], body = body[1:end], body[end:]


def _check_scan(seen: _Seen, content: bytes, body: bytes, start: int) -> int:
    """Look at the pixel data from `start` on, which the segment `body` introduces; where they end."""
    found = _END_OF_SCAN.search(content, start)
    end = len(content) if found is None else found.start()
    data = content[start:end]
    parts = {body[1 + 2 * i]: body[2 + 2 * i] for i in range(body[0])}
    spectral_start, spectral_end, successive = body[-3:]
    if spectral_start == 0 and 8 * len(data) < _units(seen, list(parts)):
        raise ValueError("its pixel data are too few for its size: a part of it is damaged")
    restarts = [data[each.end()] - 0xD0 for each in _RESTART.finditer(data)]
    expected = 0 if not seen.interval else max(0, ceil(_units(seen, list(parts)) / seen.interval) - 1)
    if restarts != [i % 8 for i in range(expected)]:
        raise ValueError("its restart markers are not those of its size: a part of it is damaged")
    if successive >> 4 == 0:  # not one more bit of what came before
        _check_codes(seen, data, parts, band=(spectral_start, spectral_end))
    seen.scans.append((start, end))
    return end


def _check_codes(seen: _Seen, data: bytes, parts: Mapping[int, int], *, band: tuple[int, int]) -> None:
    """Look at zeros, which are a picture only where codes of zeros are of flat blocks, and at where codes end."""
    if seen.frame == PROGRESSIVE and band[0] > 0:
        ((part, tables),) = parts.items()
        codes = seen.tables.get(0x10 | tables & 15, bytes(16))
        if seen.interval or (ZEROS not in data and len(data) > SHORT):
            return
        table = read_table(codes[:16], codes[16:])
        if not ends_with_its_data(data, table, blocks=_units(seen, [part]), band=band):
            raise ValueError("its pixel data do not end where its size says: a part of it is damaged")
        return
    flat = all(
        _first_symbol(seen, tables >> 4) == 0 and (band[1] == 0 or _first_symbol(seen, 0x10 | tables & 15) & 0x0F == 0)
        for tables in parts.values()
    )
    if not flat and ZEROS in data:
        raise ValueError("a part of its pixel data was overwritten by zeros")


def _first_symbol(seen: _Seen, number: int) -> int:
    """What the code of zeros stands for in a table; as if for a flat block where there is no such table."""
    return seen.tables.get(number, bytes(17))[16]


def _units(seen: _Seen, parts: list[int]) -> int:
    """The number of blocks, or of groups of blocks, in a scan of these components."""
    width, height = seen.size
    across, down = (max(factor[axis] for factor in seen.components.values()) for axis in (0, 1))
    if len(parts) > 1:
        return ceil(width / (8 * across)) * ceil(height / (8 * down))
    own = seen.components[parts[0]]
    return ceil(ceil(width * own[0] / across) / 8) * ceil(ceil(height * own[1] / down) / 8)


class Watched(BytesIO):
    """A JPEG of one scan, read so that its decoder is seen to need all of the pixel data, and no more than them.

    A decoder that has finished before the last bytes came, or that goes on into bytes that are put in behind them, has
    lost its way: bits were changed, or the header says another size.
    """

    def __init__(self, content: bytes, scan: tuple[int, int]):
        _, end = scan
        super().__init__(content[:end] + b"\x55" * TAIL + content[end:])
        self.stops = [end - TAIL, end + TAIL]
        self.image: Image.Image | None = None
        self.marks: dict[tuple[int, int], object] = {}
        self.fault: str | None = None

    def watch(self, image: Image.Image) -> None:
        """Begin to look at the last row of `image`, whose pixels are about to be decoded from here."""
        self.image = image

    def read(self, size: int | None = -1, /) -> bytes:
        if self.image is not None:
            self._mark() if not self.marks else self._look()
        left = next((stop - self.tell() for stop in self.stops if stop > self.tell()), -1)
        return super().read(left if size is None or size < 0 or 0 < left < size else size)

    def _mark(self) -> None:
        width, height = self.image.size
        bands = len(self.image.getbands())
        for i in range(8):
            ink = tuple((53 * i + 97 * band + 29) % 256 for band in range(bands))
            self.marks[(i * (width - 1) // 7, height - 1)] = ink if bands > 1 else ink[0]
        for place, ink in self.marks.items():
            self.image.im.putpixel(place, ink)

    def _look(self) -> None:
        done = any(self.image.im.getpixel(place) != ink for place, ink in self.marks.items())
        if self.tell() == self.stops[0] and done:
            self.fault = "more"
        elif self.tell() == self.stops[1] and not done and self.fault is None:
            self.fault = "fewer"

    def check(self) -> None:
        """ValueError where the decoder lost its way, or did not come to the last bytes at all."""
        fault = "more" if self.tell() <= self.stops[0] else self.fault
        if fault is not None:
            width, height = self.image.size
            raise ValueError(
                f"its header says {width} x {height} pixels, and its pixel data hold {fault}: a part of it is damaged"
            )
