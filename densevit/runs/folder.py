"""The files that a training run leaves in its folder, by their names, and those of them that are read line by line.

Reading never runs what they hold: a run may have come from anyone.
"""

import ast
import fcntl
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from densevit.texts import parse_literal, read_text

logger = logging.getLogger("densevit")

CONFIG, LOG, SCALARS, CURVES, BOARD = "config.py", "log.txt", "scalars.jsonl", "curves.png", "tensorboard"
LOCK = "run.lock"  # while its run goes on; after a crash it stays there and holds nobody up
FAILED = "the run failed:"  # with which the log of one ends that an error ended
CLASSES = "classes"  # the key of a row of scalars under which a validation has the scores of each class
MOST = 2**63  # no number of a run is as large
HELD: set[Path] = set()  # locks of this process, to which the system would give its own again


def is_run(folder: Path) -> bool:
    """Whether a training wrote into this folder."""
    return (folder / CONFIG).is_file() and ((folder / SCALARS).is_file() or (folder / LOG).is_file())


def is_running(folder: Path) -> bool:
    """Whether a run is at work in this folder; False on a disk that knows no locks."""
    path = folder.resolve() / LOCK
    if path in HELD:  # to open and close the file would let go of the lock
        return True
    try:
        with open(path, "rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
    return False


def read_scalars(folder: Path) -> list[dict[str, Any]]:
    """All lines of scalars.jsonl; one that is cut off by a crash, or damaged, is left out with a warning."""
    path = folder / SCALARS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    rows = []
    for line in filter(str.strip, text.split("\n")):
        row = None
        with suppress(ValueError, RecursionError):
            row = json.loads(line, parse_constant=lambda name: None)  # NaN is no number
        if _is_whole(row) and "\N{REPLACEMENT CHARACTER}" not in line:
            rows.append(row)
        else:
            logger.warning("%s: left out a line that is damaged: %.40r", path, line)
    return rows


def _is_whole(row: Any) -> bool:
    """Whether it is a dictionary of numbers, and of the scores of classes by their names."""
    if not isinstance(row, dict) or type(row.get("iter")) is not int or row["iter"] < 0:
        return False
    of_classes = row.get(CLASSES, {})
    parts = list(of_classes.values()) if isinstance(of_classes, dict) else [None]
    parts += [{name: value for name, value in row.items() if name != CLASSES}]
    return all(
        isinstance(part, dict) and all(value is None or _is_number(value) for value in part.values()) for part in parts
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < MOST


def read_settings(folder: Path) -> dict[str, Any]:
    """The config of a run by sections: values as they are written, text of code where they are none.

    ValueError for a file that is no Python; nothing in it is run.
    """
    path = folder / CONFIG
    try:
        tree = ast.parse(read_text(path))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"{path} is no Python file ({type(error).__name__}); it is not as the run wrote it") from None
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            text = ast.unparse(node.value)
            found[node.targets[0].id] = text
            with suppress(ValueError):
                found[node.targets[0].id] = parse_literal(text)
    return found


def section(settings: Mapping[str, Any], *names: str) -> Any:
    """What a config holds below these names, one within the other; None where there is no such thing."""
    found: Any = settings
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found
