"""`--cfg-options a.b=c`: text from the command line to typed values."""

import ast
from collections.abc import Sequence
from typing import Any


def parse_overrides(options: Sequence[str]) -> dict[str, Any]:
    """`["train_cfg.max_iters=4", "inference.roi_size=(512, 512)"]` -> `{"train_cfg.max_iters": 4, ...}`.

    Values are read as Python would: numbers, True, None, "quoted", (1, 2), [1, 2], {"a": 1}; `[a,b]` and `a,b` are
    lists of words as in OpenMMLab's tools, and anything else is a string. ValueError for an option without `=`.
    """
    overrides: dict[str, Any] = {}
    for option in options:
        key, equals, text = option.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise ValueError(f"--cfg-options takes key=value pairs such as train_cfg.max_iters=4, got {option!r}")
        overrides[key.strip()] = parse_value(text)
    return overrides


def parse_value(text: str) -> Any:
    """One value: `"4"` -> 4, `"[a,b]"` -> ["a", "b"], `"data/city"` -> "data/city"."""
    text = text.strip()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("none", "null"):
        return None
    if text[:1] in "[(" and text[-1:] in "])" and text:
        items = [parse_value(item) for item in _split(text[1:-1])]
        return tuple(items) if text[0] == "(" else items
    items = _split(text)
    return [parse_value(item) for item in items] if len(items) > 1 else text


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets and quotes: `"a,(b,c)"` -> ["a", "(b,c)"]."""
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append("")
            continue
        parts[-1] += char
    return [part.strip() for part in parts if part.strip()]
