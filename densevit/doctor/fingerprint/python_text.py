"""Nested settings as Python that a person reads: keywords, a comment beside or above each, lines of 120 characters.

mmengine's own writer drops comments, and yapf, which it calls, sets its style for the whole process.
"""

from collections.abc import Mapping
from keyword import iskeyword
from typing import Any

from densevit.quoting import printable, python_string

WIDTH, INDENT = 120, "    "


class Commented:
    """A value and why it is what it is."""

    def __init__(self, value: Any, comment: str):
        self.value, self.comment = value, printable(comment)


def assignment(name: str, value: Any) -> str:
    """`name = dict(...)`, with a comma after the last of several lines; ends with a newline."""
    return "\n".join(_lines(f"{name} = ", value, "", end="")) + "\n"


def _lines(start: str, value: Any, indent: str, *, end: str) -> list[str]:
    comment = value.comment if isinstance(value, Commented) else ""
    value = value.value if isinstance(value, Commented) else value
    lines = [] if _commented(value) else [f"{indent}{start}{_text(value)}{end}"]
    if not lines or (len(lines[0]) > WIDTH and value and isinstance(value, Mapping | list | tuple)):
        before, inside, after = _brackets(value)
        lines = [f"{indent}{start}{before}"]
        for key, each in inside:
            lines += _lines(key, each, indent + INDENT, end=",")
        lines.append(f"{indent}{after}{end}")
    if not comment:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(comment) + 4 <= WIDTH:
        return [f"{lines[0]}  # {comment}"]
    return [*_comment(comment, indent), *lines]


def _comment(text: str, indent: str) -> list[str]:
    lines, line = [], f"{indent}#"
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = f"{indent}#"
        line += f" {word}"
    return [*lines, line]


def _commented(value: Any) -> bool:
    """Whether a comment lies somewhere inside."""
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(each, Commented) or _commented(each) for each in inside)


def _brackets(value: Mapping | list | tuple) -> tuple[str, list[tuple[str, Any]], str]:
    """What opens, what stands between with its key, what closes."""
    if isinstance(value, Mapping):
        if _are_keywords(value):
            return "dict(", [(f"{key}=", each) for key, each in value.items()], ")"
        return "{", [(f"{_text(key)}: ", each) for key, each in value.items()], "}"
    before, after = "[]" if isinstance(value, list) else "()"
    return before, [("", each) for each in value], after


def _text(value: Any) -> str:
    """One line."""
    if isinstance(value, Mapping):
        if _are_keywords(value):
            return f"dict({', '.join(f'{key}={_text(each)}' for key, each in value.items())})"
        return f"{{{', '.join(f'{_text(key)}: {_text(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        inside = ", ".join(map(_text, value))
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"[{inside}]" if isinstance(value, list) else f"({inside}{comma})"
    if isinstance(value, Expression):
        return value
    return python_string(value) if isinstance(value, str) else repr(value)


class Expression(str):
    """Python as it stands, in place of a value."""


def _are_keywords(value: Mapping) -> bool:
    return all(isinstance(key, str) and key.isidentifier() and not iskeyword(key) for key in value)
