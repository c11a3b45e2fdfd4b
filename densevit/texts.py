"""Texts of others, read with care: UTF-8, JSON, YAML, CSV, and values as Python writes them.

Whatever the text holds, reading it ends soon, runs nothing, and gives plain values or raises ValueError with one
sentence: text, numbers that 64 bits hold, True, False, None, lists, and dictionaries whose keys are text.
"""

import ast
import csv
import io
import json
import re
from collections.abc import Iterable
from math import inf, isfinite
from pathlib import Path
from typing import Any

import yaml

UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
MOST_BYTES = 256 * 2**20  # of a text file
MOST_YAML = 2**18  # characters: they are read slowly
DEEPEST = 48  # lists and dictionaries inside one another
MOST_VALUES = 10**6  # of a YAML file, in which a few lines can stand for billions
TOO_DEEP = f"its lists and objects lie more than {DEEPEST} deep in one another"
TOO_MANY = f"its aliases stand for more than {MOST_VALUES:,} values"


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without a byte order mark; ValueError for what is none."""
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, more than any text that is read here; is it text?")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it so") from error
    if "\0" in text:
        raise ValueError(f"{path} is not text in UTF-8 (it holds a byte of value 0); save it so")
    return text


def read_json(path: Path, *, advice: str = "") -> Any:
    """The value in a JSON file; a ValueError names the file and ends with the advice."""
    return parse_json(read_text(path), said_by=path, advice=advice)


def read_table(path: Path, *, delimiter: str = ",") -> list[list[str]]:
    """The rows of a CSV file that are not empty; a cell in quotes may hold line breaks."""
    try:
        rows = list(csv.reader(io.StringIO(read_text(path)), delimiter=delimiter))
    except csv.Error as error:
        raise ValueError(f"{path} is no table ({error})") from None
    return [row for row in rows if any(cell.strip() for cell in row)]


def parse_json(text: str, *, said_by: Path | str, advice: str = "") -> Any:
    """The value that a JSON text stands for."""
    ending = f"; {advice}" if advice else ""
    try:
        return _checked(json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant))
    except RecursionError:
        raise ValueError(f"{said_by} is not valid JSON ({TOO_DEEP}){ending}") from None
    except ValueError as error:
        raise ValueError(f"{said_by} is not valid JSON ({error}){ending}") from None


def parse_yaml(text: str, *, said_by: Path | str) -> Any:
    """The plain value that a YAML text stands for; its aliases are followed, up to `MOST_VALUES`."""
    try:
        if len(text) > MOST_YAML:
            raise ValueError(f"it has {len(text):,} characters; write more than {MOST_YAML:,} as JSON")
        return _checked(yaml.load(text, _PlainLoader), most=MOST_VALUES)
    except RecursionError:
        reason = TOO_DEEP
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, LookupError) as error:
        reason = " ".join(str(error).split())
    raise ValueError(f"{said_by} is not plain YAML data ({reason})")


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML in which no key is said twice in one place, and mappings merged by `<<` do not grow without end."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        _unique((key.value, None) for key, _ in node.value if isinstance(key.value, str) and key.value != "<<")
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise ValueError(TOO_MANY)


def parse_literal(text: str) -> Any:
    """The value that Python writes so, "(1, 2)" -> (1, 2); ValueError for what is none or is of no plain type."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text[:60]!r} is no value ({type(error).__name__})") from None
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if not isinstance(each, str | int | float | list | tuple | dict | None):
            raise ValueError(f"{text[:60]!r} holds a {type(each).__name__}")
        waiting += each if isinstance(each, list | tuple) else [*each, *each.values()] if isinstance(each, dict) else []
    return value


def parse_bytes(text: int | str) -> int:
    """`"4GB"`, `"1.5 GiB"` or a number of bytes -> bytes; ValueError for anything else."""
    found = re.fullmatch(r"\s*([\d.]+)\s*([kmgt]?i?)b?\s*", str(text).lower())
    try:
        value = int(float(found[1]) * UNITS[found[2]])
    except (TypeError, KeyError, ValueError):
        value = 0
    if value < 1:
        raise ValueError(f"expected an amount of memory such as 4GB, 512MiB or a number of bytes, got {text!r}")
    return value


def format_bytes(count: float) -> str:
    """`1.57 GB`, in powers of ten."""
    unit = "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if count < 999.5:
            break
        count, unit = count / 1000, larger
    return f"{count:.3g} {unit}"


def check_number(value: float) -> float:
    """The number, if 64 bits hold it and it is finite; ValueError otherwise."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        shown = str(value) if value.bit_length() < 200 else f"one of {value.bit_length()} bits"
        raise ValueError(f"it holds the number {shown}, and numbers have at most 64 bits")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"it holds {value}, which is no number")
    return value


def _checked(root: Any, *, most: float = inf) -> Any:
    """A value whose numbers and texts can be used, of at most so many parts, none deeper than `DEEPEST`."""
    waiting, count = [(root, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > DEEPEST:
            raise ValueError(TOO_DEEP)
        if count > most:
            raise ValueError(TOO_MANY)
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, str):
                    raise ValueError(f"the key {key!r} is a {type(key).__name__}; write it as text, in quotes")
                _check_text(key)
            waiting += [(each, depth + 1) for each in value.values()]
        elif isinstance(value, list):
            waiting += [(each, depth + 1) for each in value]
        elif isinstance(value, str):
            _check_text(value)
        elif isinstance(value, int | float):
            check_number(value)
        elif value is not None:
            raise ValueError(f"it holds a {type(value).__name__}, {value!r:.60}; write it as text, in quotes")
    return root


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("it holds a character of value 0, which no name has")
    try:
        text.encode("utf-8", "surrogateescape")  # by which names that are no UTF-8 are written
    except UnicodeEncodeError as error:
        raise ValueError(f"it holds half of a character, {text[error.start]!a}") from None


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it says {key!r} twice in one place")
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")
