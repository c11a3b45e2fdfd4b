"""JPEG files looked at more closely than decoders do: they have no checksums, and libjpeg paints grey over damage.

What can be told without decoding twice: markers that do not belong there, tables that no encoder writes, long zeros
that no photo has, and pixel data that end too early or too late for the size that the header says.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from math import ceil

import numpy as np
from PIL import Image

SOI, EOI, SOS, DQT, DHT, DRI = 0xD8, 0xD9, 0xDA, 0xDB, 0xC4, 0xDD
FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
SEQUENTIAL = {0xC0, 0xC1}  # of frames: one Huffman-coded scan after another, top to bottom
PROGRESSIVE = 0xC2  # of frames: many scans, which a decoder does not show one by one
ZEROS = bytes(16)
SHORT = 4096  # bytes of a scan whose codes are always followed
TAIL = 16  # bytes of pixel data that a decoder may or may not have looked at ahead
SLACK = 16  # bits behind the last code: the last byte is filled up, and some encoders add another one
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
_END_OF_SCAN = re.compile(rb"\xff(?![\x00\xd0-\xd7])")
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")


@dataclass
class _Seen:
    """What the segments said so far. `components`: (horizontal, vertical) factors by number; `tables`: 16 counts and
    the symbols of each Huffman table, by class and number; `scans`: where their data begin and end."""

    frame: int = 0
    size: tuple[int, int] = (0, 0)
    components: dict[int, tuple[int, int]] = field(default_factory=dict)
    tables: dict[int, bytes] = field(default_factory=dict)
    interval: int = 0
    scans: list[tuple[int, int]] = field(default_factory=list)


def checked(content: bytes) -> BytesIO:
    """The JPEG as a stream to decode, `Watched` where its pixel data are one scan; ValueError, without the file's name,
    for damage.
    """
    seen, place = _Seen(), 2
    while found := _MARKER.search(content, place):
        marker, place = found[1][0], found.end()
        if marker == EOI:
            start, end = seen.scans[0] if len(seen.scans) == 1 else (0, 0)
            watchable = end - start > TAIL and seen.frame in SEQUENTIAL and not seen.interval
            return Watched(content, end) if watchable else BytesIO(content)
        if marker == SOI or 0xD0 <= marker < SOI or marker == 1:
            continue
        if marker < 0xC0:
            raise ValueError(f"it holds the marker {marker:#x}, which no JPEG has: a part of it is damaged")
        length = int.from_bytes(content[place : place + 2], "big")
        body = content[place + 2 : place + length]
        _read_segment(seen, marker, body)
        place += length
        if marker == SOS:
            end = _END_OF_SCAN.search(content, place)
            seen.scans.append((place, len(content) if end is None else end.start()))
            _check_scan(seen, body, content[slice(*seen.scans[-1])])
            place = seen.scans[-1][1]
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


def _check_scan(seen: _Seen, body: bytes, data: bytes) -> None:
    """ValueError for pixel data that do not fit the segment `body` that introduces them."""
    parts = {body[1 + 2 * i]: body[2 + 2 * i] for i in range(body[0])}
    first, last, successive = body[-3:]  # coefficients, and whether they are one more bit of what came before
    units = _units(seen, list(parts))
    if first == 0 and 8 * len(data) < units:
        raise ValueError("its pixel data are too few for its size: a part of it is damaged")
    expected = max(0, ceil(units / seen.interval) - 1) if seen.interval else 0
    if [marker[0] - 0xD0 for marker in _RESTART.findall(data)] != [i % 8 for i in range(expected)]:
        raise ValueError("its restart markers are not those of its size: a part of it is damaged")
    if successive >> 4:
        return
    if seen.frame == PROGRESSIVE and first > 0:
        (number,) = parts.values()
        codes = seen.tables.get(0x10 | number & 15, bytes(16))
        follow = not seen.interval and (ZEROS in data or len(data) <= SHORT)
        if follow and not _ends_with_its_data(data, codes, blocks=units, band=(first, last)):
            raise ValueError("its pixel data do not end where its size says: a part of it is damaged")
    elif ZEROS in data and not _zeros_are_flat(seen.tables, parts, only_means=last == 0):
        raise ValueError("a part of its pixel data was overwritten by zeros")


def _zeros_are_flat(tables: Mapping[int, bytes], parts: Mapping[int, int], *, only_means: bool) -> bool:
    """Whether codes of zeros are of flat blocks, or their table is missing: then a picture may consist of them."""
    means = [tables.get(number >> 4, bytes(17))[16] for number in parts.values()]
    others = [tables.get(0x10 | number & 15, bytes(17))[16] & 0x0F for number in parts.values()]
    return not any(means) and (only_means or not any(others))


def _units(seen: _Seen, parts: list[int]) -> int:
    """The number of blocks, or of groups of blocks, in a scan of these components."""
    width, height = seen.size
    across, down = (max(factor[axis] for factor in seen.components.values()) for axis in (0, 1))
    if len(parts) > 1:
        return ceil(width / (8 * across)) * ceil(height / (8 * down))
    own = seen.components[parts[0]]
    return ceil(ceil(width * own[0] / across) / 8) * ceil(ceil(height * own[1] / down) / 8)


def _ends_with_its_data(data: bytes, codes: bytes, *, blocks: int, band: tuple[int, int]) -> bool:
    """Whether the Huffman codes of the first scan of coefficients `band` of one component end with its data.

    Followed code by code, as decoders do not say where they were when the data ended: slow, and for few scans.
    """
    stuffed = np.frombuffer(data.replace(b"\xff\x00", b"\xff") + bytes(4), np.uint8).astype(np.uint32)
    three = stuffed[:-2] << 16 | stuffed[1:-1] << 8 | stuffed[2:]
    windows = (three[:, None] >> np.arange(8, 0, -1) & 0xFFFF).reshape(-1)  # the 16 bits from each bit on
    lengths, symbols = (table[windows].tolist() for table in _lookup(codes))
    ahead, bits = windows.tolist(), 8 * (len(stuffed) - 4)
    first, last = band
    place, at = 0, first
    while blocks > 0 and place <= bits:
        if lengths[place] == 0:
            return False
        run, size = symbols[place] >> 4, symbols[place] & 15
        place += lengths[place]
        if size == 0 and run < 15:  # the end of this block, and of a run of blocks
            blocks -= (1 << run) + (ahead[place] >> 16 - run if run else 0)
            place, at = place + run, first
            continue
        at, place = at + run + 1, place + size
        if at > last:
            blocks, at = blocks - 1, first
    return blocks == 0 and 0 <= bits - place < SLACK


def _lookup(codes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """For every 16 bits the length of the code at their beginning, 0 for none, and its symbol."""
    lengths, symbols = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
    place, number = 0, 16
    for length, count in enumerate(codes[:16], start=1):
        for symbol in codes[number : number + count]:
            end = place + (1 << 16 - length)
            lengths[place:end], symbols[place:end], place = length, symbol, end
        number += count
    return lengths, symbols


class Watched(BytesIO):
    """A JPEG of one scan, read so that its decoder is seen to need all of the pixel data, and no more than them.

    A decoder that has finished before the last bytes came, or that goes on into bytes that are put in behind them, has
    lost its way: bits were changed, or the header says another size. `image` is the opened picture, from where its
    pixels are about to be decoded.
    """

    def __init__(self, content: bytes, end: int):
        super().__init__(content[:end] + b"\x55" * TAIL + content[end:])
        self.stops = [end - TAIL, end + TAIL]
        self.image: Image.Image | None = None
        self.marks: dict[tuple[int, int], int | tuple[int, ...]] = {}
        self.fault: str | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.image is not None:
            self._look() if self.marks else self._paint()
        left = next((stop - self.tell() for stop in self.stops if stop > self.tell()), -1)
        return super().read(left if size is None or size < 0 or 0 < left < size else size)

    def _paint(self) -> None:
        """Some pixels of the last row, each in an ink of its own."""
        width, height = self.image.size
        for i in range(8):
            ink = tuple((53 * i + 97 * band + 29) % 256 for band in range(len(self.image.getbands())))
            self.marks[(i * (width - 1) // 7, height - 1)] = ink if len(ink) > 1 else ink[0]
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
