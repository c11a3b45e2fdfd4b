"""What a user wrote as options, made into a frozen dataclass, or one sentence on what is wrong with it.

Each room owns one such dataclass, and the types of its fields say what fits. Ranges and what goes together are checked
in its `__post_init__`, whose messages begin with a field's name where they are about one: "inference." is put before.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from inspect import Parameter, formatannotation
from os import PathLike, fspath
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from densevit.quoting import shown
from densevit.registry import check_known

Options = TypeVar("Options")
_WORDS = {NoneType: "None", bool: "True or False", str: "text", int: "a whole number", float: "a number"}
_PLURALS = {bool: "True or False", str: "texts", int: "whole numbers", float: "numbers", dict: "dicts"}


def read_options(kind: type[Options], given: Options | Mapping[str, Any], *, where: str = "") -> Options:
    """Make an instance of the dataclass `kind` of a dictionary; an instance of it is returned as it is.

    Lists become tuples, whole numbers floats and dictionaries dataclasses where the fields' types ask for it. `where`
    is its dotted name in what the user wrote. ValueError for unknown and missing keys, values of another type, and
    lists or dicts too deep in one another.
    """
    try:
        return _read_options(kind, given, where)
    except RecursionError:
        raise ValueError(f"{where or 'this'} holds lists or dicts too deep in one another") from None


def _read_options(kind: type[Options], given: Any, where: str) -> Options:
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise ValueError(f"{where or 'this'} must be a dict, got {shown(given)}")
    prefix = f"{where}." if where else ""
    known = [field.name for field in fields(kind) if field.init]
    for key in given:
        check_known(key, known, what="unknown key", prefix=prefix)
    hints = get_type_hints(kind)
    for field in fields(kind):
        if field.init and field.name not in given and field.default is field.default_factory is MISSING:
            raise ValueError(f"the key {prefix + field.name!r} is missing: it must be {_describe(hints[field.name])}")
    values = {name: fit(value, hints[name], where=prefix + name) for name, value in given.items()}
    try:
        return kind(**values)
    except ValueError as error:
        about_a_field = str(error).partition(" ")[0].partition(".")[0] in known
        raise ValueError(f"{where}{'.' if about_a_field else ': '}{error}" if where else str(error)) from None


def fit(value: Any, kind: Any, *, where: str) -> Any:
    """The value as the annotation `kind` asks for it; a ValueError begins with the dotted name `where`."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return _fit_union(value, inner, where)
    if is_dataclass(kind):
        return read_options(kind, value, where=where)
    if kind is Any or (origin is Literal and value in inner):
        return _plain(value, where)
    if origin in (tuple, list, Sequence) and isinstance(value, (tuple, list)):
        kinds = [inner[0] if inner else Any] * len(value) if origin is not tuple or inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            items = (fit(value[i], kinds[i], where=f"{where}.{i}") for i in range(len(value)))
            return list(items) if origin is list else tuple(items)
    elif origin in (dict, Mapping) and isinstance(value, Mapping):
        return {key: fit(item, inner[1] if inner else Any, where=f"{where}.{key}") for key, item in value.items()}
    elif isinstance(value, bool):  # which Python counts among the whole numbers
        if kind is bool:
            return value
    elif kind in (int, float) and isinstance(value, int | float) and not _is_usable(value):
        size = " of at most 64 bits" if isinstance(value, int) else ""
        raise ValueError(f"{where} must be {_describe(kind)}{size}, got {shown(value)}")
    elif kind is float and isinstance(value, int):
        return float(value)
    elif kind is str and isinstance(value, PathLike):
        return fspath(value)
    elif isinstance(origin, type) and isinstance(value, origin):
        return value
    raise ValueError(f"{where} must be {_describe(kind)}, got {shown(value)}")


def check_range(options: Any, names: Iterable[str], *, least: float, most: float = float("inf")) -> None:
    """Raise ValueError for a field of that name with a number outside, alone or in a tuple; None is left out."""
    for name in names:
        value = getattr(options, name)
        numbers = value if isinstance(value, tuple) and not isinstance(least, tuple) else [value]
        if value is not None and not all(least <= number <= most for number in numbers):
            limits = f"at least {least}" if most == float("inf") else f"from {least} to {most}"
            raise ValueError(f"{name} must be {limits}, got {value!r}")


def check_fields(made: Any, *, owner: str) -> None:
    """Raise ValueError for a field of the dataclass instance `made` whose value is of another type than it says."""
    hints = get_type_hints(type(made))
    for field in fields(made):
        try:
            fit(getattr(made, field.name), hints[field.name], where=field.name)
        except ValueError as error:
            raise ValueError(f"{owner} needs {str(error).replace(' must be ', ' to be ', 1)}") from None


def check_bools(takes: Mapping[str, Parameter], given: Mapping[str, Any], *, where: str = "") -> None:
    """Raise ValueError for True or False, at any depth, where a keyword of a builder asks for numbers.

    Python counts them among these: frozen=True would freeze one stage. `where` is put before the key.
    """
    for key, value in given.items():
        if key not in takes or not _holds_bool(value):
            continue
        kind, default = formatannotation(takes[key].annotation), takes[key].default
        numbers = bool(re.search(r"\b(int|float)\b", kind)) or _is_of_numbers(default)
        if numbers and not re.search(r"\bbool\b", kind):
            raise ValueError(f"{where}{key} must be numbers, got {value!r}; write the number that is meant")


def dotted(
    options: Mapping[str, Any], *, leave_out: Callable[[str], object] = lambda name: False, where: str = ""
) -> dict[str, Any]:
    """Nested options by dotted names, `train_cfg.max_iters`, and in JSON's types; `leave_out` is asked of each name."""
    found: dict[str, Any] = {}
    for key, value in options.items():
        name = f"{where}{key}"
        if leave_out(name):
            continue
        if isinstance(value, Mapping) and value:
            found |= dotted(value, leave_out=leave_out, where=f"{name}.")
        else:
            found[name] = json.loads(json.dumps(value, default=repr, skipkeys=True))
    return found


def _holds_bool(value: Any) -> bool:
    return any(map(_holds_bool, value)) if isinstance(value, (list, tuple)) else isinstance(value, bool)


def _is_of_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(map(_is_of_numbers, value))
    return type(value) in (int, float)


def _fit_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    """As the first choice that fits; a fault inside of a value whose outside fits is named in place of all choices."""
    inside = None
    for choice in choices:
        try:
            return fit(value, choice, where=where)
        except ValueError as error:
            inside = inside if str(error).startswith(f"{where} must be") else error
    raise inside or ValueError(f"{where} must be {_describe(Union[choices])}, got {shown(value)}")  # noqa: UP007


def _plain(value: Any, where: str) -> Any:
    """Dictionaries and sequences copied, without the classes in which mmengine keeps them."""
    if isinstance(value, Mapping):
        return {key: _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)([_plain(item, f"{where}.{i}") for i, item in enumerate(value)])
    if isinstance(value, int) and not _is_usable(value):
        raise ValueError(f"{where} must be a number of at most 64 bits, got {shown(value)}")
    return value


def _is_usable(value: float) -> bool:
    """Not NaN, and no whole number that arrays cannot hold."""
    return value == value if isinstance(value, float) else -(2**63) <= value < 2**64


def _describe(kind: Any) -> str:
    """A type in words: `tuple[int, ...] | None` -> "a list of whole numbers or None"."""
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_describe(choice) for choice in inner))
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if origin in (tuple, list, Sequence):
        many = _PLURALS.get(get_origin(inner[0]) or inner[0]) if inner else None
        if origin is tuple and inner and inner[-1] is not ...:
            return f"{len(inner)} {many or 'values'}"
        return f"a list of {many}" if many else "a list"
    if is_dataclass(kind) or origin in (dict, Mapping):
        return "a dict"
    return _WORDS.get(origin, f"a {getattr(origin, '__name__', origin)}")


@contextmanager
def about(key: str) -> Iterator[None]:
    """A ValueError within begins with the key that it is about."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
