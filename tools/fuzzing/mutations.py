"""Damage to bytes and to plain values, drawn from a random generator."""

import struct
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from numpy.random import Generator

HEADER = 1024  # bytes at the beginning of a file, where half of the damage is done
FIELDS = {
    "<h": (0, -1, 32767, -32768, 1, 255),
    "<i": (0, -1, 2**31 - 1, -(2**31), 65536),
    ">i": (0, -1, 2**31 - 1, 16),
    "<f": (0.0, float("nan"), float("inf"), -1.0, 1e38, 1e-38),
    "<q": (0, -1, 2**63 - 1, 2**40),
}
EXTREMES = (
    *(None, True, False, 0, 1, -1, 255, 65536, 2**31, 2**63, 2**70, 10**9, -(10**9), 0.5, 1e-300, 1e308),
    *(float("nan"), float("inf"), "", "x", " ", "nan", "0", "None", "../x", "a\0b", "\ud800", "$x", "é" * 300, "a\nb"),
    *([], {}, [[]], [None], [0, 0, 0], {"": 0}, {"type": "x"}, {"type": None}, ["a", "a"], [[1, 2], [3]], (1,)),
)


def mutate_bytes(content: bytes, rng: Generator) -> bytes:
    """One to three kinds of damage in turn: bits, fields, blocks, ends."""
    for _ in range(int(rng.integers(1, 4))):
        content = BYTE_DAMAGE[int(rng.integers(len(BYTE_DAMAGE)))](content, rng)
    return content


def _place(content: bytes, rng: Generator) -> int:
    if not content:
        return 0
    return int(rng.integers(min(len(content), HEADER) if rng.random() < 0.5 else len(content)))


def _piece(content: bytes, rng: Generator) -> tuple[int, int]:
    start = _place(content, rng)
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))


def _flip(content: bytes, rng: Generator) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9)) if changed else 0):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _set_field(content: bytes, rng: Generator) -> bytes:
    kind = list(FIELDS)[int(rng.integers(len(FIELDS)))]
    value = struct.pack(kind, FIELDS[kind][int(rng.integers(len(FIELDS[kind])))])
    start = _place(content, rng) // 2 * 2
    return content[:start] + value + content[start + len(value) :]


def _truncate(content: bytes, rng: Generator) -> bytes:
    return content[: _place(content, rng)]


def _zero(content: bytes, rng: Generator) -> bytes:
    start, end = _piece(content, rng)
    return content[:start] + bytes(end - start) + content[end:]


def _repeat(content: bytes, rng: Generator) -> bytes:
    start, end = _piece(content, rng)
    return content[:end] + content[start:end] + content[end:]


def _remove(content: bytes, rng: Generator) -> bytes:
    start, end = _piece(content, rng)
    return content[:start] + content[end:]


def _insert(content: bytes, rng: Generator) -> bytes:
    start = _place(content, rng)
    return content[:start] + rng.bytes(int(rng.integers(1, 17))) + content[start:]


def _exchange(content: bytes, rng: Generator) -> bytes:
    (a, b), (c, d) = sorted((_piece(content, rng), _piece(content, rng)))
    return content if b > c else content[:a] + content[c:d] + content[b:c] + content[a:b] + content[d:]


BYTE_DAMAGE: tuple[Callable[[bytes, Generator], bytes], ...] = (
    *(_flip, _flip, _set_field, _set_field, _truncate, _zero, _repeat, _remove, _insert, _exchange),
)


def mutate_value(value: Any, rng: Generator) -> Any:
    """A copy of a plain value in which one to three parts have another value or type, or are missing, or nested."""
    root = [deepcopy(value)]
    for _ in range(int(rng.integers(1, 4))):
        places = _places(root)
        holder, key = places[int(rng.integers(len(places)))]
        holder[key] = _other(holder[key], rng)
        if isinstance(holder, dict) and rng.random() < 0.15:
            del holder[key]
    return root[0]


def _places(root: list[Any]) -> list[tuple[Any, Any]]:
    found, waiting = [], [root]
    while waiting:
        holder = waiting.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found


def _other(value: Any, rng: Generator) -> Any:
    choice = rng.random()
    if choice < 0.1:
        for _ in range(int(rng.choice([1, 3, 60, 2000]))):
            value = [value]
        return value
    if choice < 0.3 and isinstance(value, list | str):
        return value * int(rng.choice([0, 2, 50])) if rng.random() < 0.7 else value[:-1]
    if choice < 0.4 and isinstance(value, int | float):
        return value * rng.choice([-1, 10, 1e6]).item()
    if choice < 0.5:
        return str(value)[:200]
    return deepcopy(EXTREMES[int(rng.integers(len(EXTREMES)))])
