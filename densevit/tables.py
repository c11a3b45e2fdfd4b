"""Rows as a text table, without colours and never cut, for a terminal, a file or a page of documentation."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import ASCII2, MARKDOWN
from rich.console import Console
from rich.table import Table
from rich.text import Text

from densevit.quoting import printable

BOXES = {"columns": None, "framed": ASCII2, "markdown": MARKDOWN}
WIDEST = 10**6  # characters of a line


def format_table(rows: Sequence[Mapping[str, Any]], *, style: str = "columns") -> str:
    """Rows of equal keys, which are the header, as text; `style` is "columns", "framed" or "markdown".

    Numbers stand to the right and words to the left; in a frame all cells are centred.
    """
    spacing = dict(pad_edge=False, padding=(0, 2, 0, 0)) if style == "columns" else {}
    table = Table(box=BOXES[style], **spacing)
    for name in rows[0]:
        numbers = all(isinstance(row[name], int | float | None) for row in rows)
        side = "center" if style == "framed" else "right" if numbers else "left"
        table.add_column(Text(_quoted(name, style)), justify=side, no_wrap=True)
    for row in rows:
        table.add_row(*(Text(_quoted(format_cell(value), style)) for value in row.values()))
    console = Console(file=io.StringIO(), width=WIDEST, color_system=None)
    console.print(table)
    indent = "  " if style == "columns" else ""
    lines = (line.rstrip() for line in console.file.getvalue().splitlines())
    return "\n".join(indent + line for line in lines if line)


def _quoted(text: str, style: str) -> str:
    """One line, within its cell; what else is markup in Markdown is the caller's."""
    return printable(text).replace("|", r"\|") if style == "markdown" else printable(text)


def format_cell(value: Any) -> str:
    """Counts with commas, other numbers short, tiny ones as powers of ten, "-" for what was not measured."""
    if isinstance(value, list | tuple):
        return " ".join("x".join(map(str, part)) if isinstance(part, tuple | list) else str(part) for part in value)
    if isinstance(value, float):
        size = abs(value)
        if 0 < size < 1:
            return f"{value:.1e}" if size < 0.001 else f"{value:.3g}"
        return f"{value:,.{0 if size >= 1000 else 1 if size >= 10 else 2}f}"
    return "-" if value is None else f"{value:,}" if type(value) is int else str(value)
