"""What a bundle's configs write as Python, "$@a * 2", as far as it is arithmetic: read from its syntax, never run."""

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from densevit.quoting import shown

REFERENCE = re.compile(r"@(\w+(?:(?:#|::)\w+)*)")  # "@a", "@a#b" or "@a::b": another entry of the config
OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
SIGNS = {ast.UAdd: operator.pos, ast.USub: operator.neg}


def evaluate(text: str, look_up: Callable[[str], Any], *, where: str) -> Any:
    """The value of an expression of numbers, texts, lists and references, which `look_up` follows.

    Numbers are added, subtracted, multiplied and divided, lists and texts put one after another. ValueError with the
    text for everything else: names, calls and attributes are code.
    """
    named: dict[str, str] = {}

    def name_it(found: re.Match[str]) -> str:
        named[f"_{len(named)}_"] = found[1]
        return f"_{len(named) - 1}_"

    def value_of(node: ast.AST) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None):
                return node.value
            case ast.Name(id=name) if name in named:
                return look_up(named[name])
            case ast.List(elts=parts) | ast.Tuple(elts=parts):
                return [value_of(part) for part in parts]
            case ast.UnaryOp(op=sign, operand=operand) if type(sign) in SIGNS:
                return SIGNS[type(sign)](_number(value_of(operand)))
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in OPERATORS:
                return _combined(kind, value_of(left), value_of(right))
        raise TypeError

    try:
        return value_of(ast.parse(REFERENCE.sub(name_it, text).strip(), mode="eval").body)
    except (SyntaxError, TypeError, ArithmeticError, RecursionError) as error:
        raise ValueError(
            f"{where} is the expression {shown('$' + text)}, and of a bundle no code is run: numbers, references such "
            "as @a and arithmetic of them are read; write its value there"
        ) from error


def _combined(kind: ast.operator, left: Any, right: Any) -> Any:
    if isinstance(kind, ast.Add) and type(left) is type(right) and isinstance(left, list | str):
        return left + right
    return OPERATORS[type(kind)](_number(left), _number(right))


def _number(value: Any) -> int | float:
    if not isinstance(value, int | float):
        raise TypeError
    return value
