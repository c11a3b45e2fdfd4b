"""Make a plain value fit a type annotation, or say in one sentence where it does not."""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from densevit.registry import check_known


def conform(value: Any, kind: Any, *, where: str = "") -> Any:
    """The value with lists turned to tuples, whole numbers to floats, and defaults filled in as `kind` asks.

    `kind` is a dataclass (the value is then a dictionary, and so is the result), a container, a Literal, a union or a
    plain type; `where` is the dotted name for the ValueError.
    """
    if kind is Any:
        return _plain(value)
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return _conform_union(value, get_args(kind), where)
    if origin is Literal:
        if value not in get_args(kind):
            raise _mismatch(value, kind, where)
        return value
    if is_dataclass(kind):
        return _conform_section(value, kind, where)
    if origin in (tuple, list):
        return _conform_sequence(value, kind, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _mismatch(value, kind, where)
        return {k: conform(v, get_args(kind)[1], where=f"{where}.{k}") for k, v in value.items()}
    return _conform_number(value, kind, where)


def _conform_section(value: Any, section: type, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or 'a config'} must be a dict, got {value!r}")
    prefix = f"{where}." if where else ""
    known = {f.name: f for f in fields(section)}
    for key in value:
        check_known(key, known, what="unknown key", prefix=prefix)
    hints = get_type_hints(section)
    result = {}
    for name, field in known.items():
        if name in value:
            result[name] = conform(value[name], hints[name], where=prefix + name)
        elif field.default is not MISSING:
            result[name] = field.default
        elif field.default_factory is not MISSING:
            made = field.default_factory()
            result[name] = _conform_section({}, type(made), prefix + name) if is_dataclass(made) else made
        else:
            raise ValueError(f"the key {prefix + name!r} is missing: it must be {describe(hints[name])}")
    return result


def _conform_union(value: Any, choices: tuple[Any, ...], where: str) -> Any:
    if value is None and NoneType in choices:
        return None
    real = [choice for choice in choices if choice is not NoneType]
    if len(real) == 1:
        return conform(value, real[0], where=where)
    for choice in real:
        if get_origin(choice) is Literal:
            if value in get_args(choice):
                return value
        elif isinstance(value, get_origin(choice) or choice):
            return conform(value, choice, where=where)
    raise _mismatch(value, Union[tuple(choices)], where)  # noqa: UP007


def _conform_sequence(value: Any, kind: Any, where: str) -> tuple | list:
    make, inner = get_origin(kind), get_args(kind)
    if not isinstance(value, (tuple, list)):
        raise _mismatch(value, kind, where)
    if make is list or inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        raise _mismatch(value, kind, where)
    return make(conform(v, k, where=f"{where}.{i}") for i, (v, k) in enumerate(zip(value, inner, strict=True)))


def _conform_number(value: Any, kind: type, where: str) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _mismatch(value, kind, where)
    return value


def _plain(value: Any) -> Any:
    """Dictionaries and sequences without mmengine's classes."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value


def _mismatch(value: Any, kind: Any, where: str) -> ValueError:
    return ValueError(f"{where} must be {describe(kind)}, got {value!r}")


def describe(kind: Any) -> str:
    """An annotation in words: `tuple[int, ...] | None` -> "a tuple of int, or None"."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is NoneType:
        return "None"
    if origin in (Union, UnionType):
        return ", or ".join(describe(k) for k in inner)
    if origin is Literal:
        return " or ".join(repr(choice) for choice in inner)
    if is_dataclass(kind) or origin is dict:
        return "a dict"
    if origin is list:
        return f"a list of {describe(inner[0])}"
    if origin is tuple and inner[-1] is Ellipsis:
        return f"a tuple of {describe(inner[0])}"
    if origin is tuple:
        return f"a tuple ({', '.join(describe(k) for k in inner)})"
    return {Any: "anything", bool: "True or False"}.get(kind, getattr(kind, "__name__", str(kind)))
