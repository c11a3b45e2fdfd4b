"""Names of files, classes and patients put where some characters mean more than themselves: one function a place.

What comes in is data of others. What comes out is text at that place, and nothing that runs, moves the cursor, ends
the line or becomes a formula.
"""

import re
import shlex
from collections.abc import Mapping
from typing import Any
from unicodedata import category

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of a formula
MONAI_WORD = re.compile(r"\s*[$%@]|.*[@%](#|::)", re.DOTALL)  # an expression, a macro, a reference
MONAI_KEYS = {"_target_", "_requires_", "_disabled_", "_desc_", "_mode_", "_meta_"}  # those of a component


def printable(text: Any, *, keep: str = "") -> str:
    r"""Text for a terminal, a log or a cell: control, format and line-breaking characters as \x1b, \n, \u202e.

    `keep` are such characters that stay, as line breaks of a table do. Half a pair of surrogates, by which Python
    stands for a byte of a name that is no UTF-8, becomes \udc80.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _is_control(c) else c.encode("unicode_escape").decode() for c in text)


def message(text: Any) -> str:
    """A sentence for a terminal or a log; what follows a line break is indented, so that it looks like no new one."""
    return printable(str(text).replace("\n", "\n  "), keep="\n")


def shell(*words: Any) -> str:
    """A command of these words, to be pasted into a shell; what is not printable is in the quotes of bash and zsh."""
    return " ".join(_shell_word(str(word)) for word in words)


def shown(value: Any) -> str:
    """A value in a message: as Python writes it, cut off where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, a list that holds itself
        return f"a {type(value).__name__} too large to be shown"
    return text if len(text) <= 200 else f"{text[:197]}..."


def sentence(text: str) -> str:
    """A refusal as one line, which names and texts of a file may be part of; what is very long is cut in the middle."""
    text = printable(text)
    return text if len(text) <= 2000 else f"{text[:1200]} ... {text[-600:]}"


def csv_cell(value: Any) -> Any:
    """A value of a CSV file: text that a spreadsheet would compute begins with an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    return printable(f"'{value}" if value.lstrip(" ").startswith(FORMULA) else value)


def markdown(text: Any) -> str:
    """Text in a sentence or a table of Markdown, where no character makes a link, a tag, a cell or a title."""
    return re.sub(r"([\\`*\[\]<>|&~#$])", r"\\\1", printable(text))


def python_string(text: str) -> str:
    """A literal of Python: in double quotes where that needs no backslashes, raw for regular expressions."""
    if "\\" in text and '"' not in text and text.isprintable() and not text.endswith("\\"):
        return f'r"{text}"'
    plain = repr(text)
    return plain if '"' in text or "\\" in plain else f'"{plain[1:-1]}"'


def in_docstring(text: Any) -> str:
    """Text between the quotes of a docstring of Python."""
    return printable(str(text).replace("\\", "\\\\").replace('"', '\\"'))


def monai_data(value: Any) -> Any:
    """Data of a MONAI bundle: what MONAI would compute becomes an expression that gives the same value.

    MONAI runs text that begins with "$", replaces what begins with "@" and "%", and builds dictionaries that have
    "_target_".
    """
    if isinstance(value, list | tuple):
        return [monai_data(each) for each in value]
    if isinstance(value, Mapping) and not MONAI_KEYS & value.keys():
        return {key: monai_data(each) for key, each in value.items()}
    if isinstance(value, Mapping) or (isinstance(value, str) and MONAI_WORD.match(value)):
        return "$" + re.sub(r"[@#$%]", lambda found: f"\\x{ord(found[0]):02x}", ascii(value))
    return value


def label_name(text: str) -> str:
    """The name of a label for viewers and DICOM, whose tables know one line without backslashes and double quotes."""
    return "".join("?" if _is_control(c) else c for c in text).replace("\\", "/").replace('"', "'")


def _shell_word(word: str) -> str:
    if word.isprintable():
        return shlex.quote(word)
    parts = [f"\\{c}" if c in "\\'" else _bytes(c) if _is_control(c) else c for c in word]
    return f"$'{''.join(parts)}'"


def _bytes(character: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def _is_control(character: str) -> bool:
    """Controls, formats, surrogates, private and unassigned code points, breaks of lines and paragraphs."""
    kind = category(character)
    return kind[0] == "C" or kind in ("Zl", "Zp")
