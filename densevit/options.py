"""Check the values of a description that users write against the types of its dataclass."""

from dataclasses import fields
from os import PathLike
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

_WORDS = {NoneType: "None", bool: "True or False", str: "text", int: "a whole number", float: "a number"}


def check_fields(made: Any, *, owner: str) -> None:
    """Raise ValueError for a field of the dataclass instance `made` whose value is of another type than it says."""
    hints = get_type_hints(type(made))
    for field in fields(made):
        value, kinds = getattr(made, field.name), _kinds(hints[field.name])
        if not any(_fits(value, kind) for kind in kinds):
            words = " or ".join(_WORDS.get(kind, f"a {kind.__name__}") for kind in kinds)
            raise ValueError(f"{owner} needs {field.name} to be {words}, got {value!r}")


def _kinds(annotation: Any) -> list[type]:
    """str | list[int] | None -> [str, list, NoneType]."""
    parts = get_args(annotation) if get_origin(annotation) not in (list, tuple, dict) else [annotation]
    return [get_origin(part) or part for part in parts or [annotation]]


def _fits(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which Python counts among the whole numbers
        return kind is bool
    return isinstance(value, (str, PathLike) if kind is str else (int, float) if kind is float else kind)
