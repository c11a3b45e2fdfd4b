"""How far the Huffman codes of a JPEG scan reach: whether its blocks end where its data end.

Only scans that look damaged are followed, code by code; decoders do not say where they were when the data ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SLACK = 16  # bits: the last byte is filled up, and some encoders add another one


@dataclass(frozen=True)
class Table:
    """For every 16 bits: how long the code at their beginning is, 0 for none, and its symbol."""

    lengths: np.ndarray
    symbols: np.ndarray


def read_table(counts: Sequence[int], symbols: bytes) -> Table:
    """The table with `counts` codes of 1, 2, ... 16 bits."""
    lengths, values = np.zeros(1 << 16, np.uint8), np.zeros(1 << 16, np.uint8)
    place = number = 0
    for length, count in enumerate(counts, start=1):
        for symbol in symbols[number : number + count]:
            end = place + (1 << 16 - length)
            lengths[place:end], values[place:end], place = length, symbol, end
        number += count
    return Table(lengths, values)


def ends_with_its_data(data: bytes, table: Table, *, blocks: int, band: tuple[int, int]) -> bool:
    """Whether the first scan of coefficients `band` (first, last; not the mean) of one component ends with its data."""
    stuffed = np.frombuffer(data.replace(b"\xff\x00", b"\xff") + bytes(4), np.uint8).astype(np.uint32)
    three = stuffed[:-2] << 16 | stuffed[1:-1] << 8 | stuffed[2:]
    windows = (three[:, None] >> np.arange(8, 0, -1) & 0xFFFF).reshape(-1)
    bits, first, last = 8 * (len(stuffed) - 4), *band
    ahead, lengths, symbols = windows.tolist(), table.lengths[windows].tolist(), table.symbols[windows].tolist()
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
