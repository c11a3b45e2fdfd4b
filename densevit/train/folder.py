"""The run folder: made ready before a run, an earlier run moved aside, what is written there as it goes.

config.py  log.txt  scalars.jsonl  curves.png  checkpoints/  last_checkpoint  best/  tensorboard/
"""

import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from densevit.environment import ignore_warnings
from densevit.files import check_writable, write_text
from densevit.processes import in_group, rank_and_size
from densevit.quoting import printable
from densevit.weights.files import BEST, POINTER, SNAPSHOTS

logger = logging.getLogger("densevit")

CONFIG, LOG, SCALARS, CURVES = "config.py", "log.txt", "scalars.jsonl", "curves.png"
RUN_FILES = (CONFIG, LOG, SCALARS, CURVES, SNAPSHOTS, POINTER, BEST, "tensorboard")


def make_folder(work_dir: Path) -> None:
    """Make the folder and prove that it can be written; ValueError with one sentence when it cannot."""
    try:
        check_writable(work_dir, what="work dir", advice="choose another with --work-dir")
    except OSError as error:
        raise ValueError(str(error)) from None


def prepare_folder(work_dir: Path, *, keep: bool) -> Path | None:
    """Make the folder and prove that it can be written; unless `keep`, move an earlier run's files to a folder inside.

    Returns that folder, or None. Raises ValueError with one sentence when the folder cannot be used.
    """
    make_folder(work_dir)
    present = [] if keep else [work_dir / name for name in RUN_FILES if (work_dir / name).exists()]
    if not present:
        return None
    earlier = work_dir / time.strftime("earlier_%Y%m%d_%H%M%S")
    while earlier.exists():
        earlier = earlier.with_name(f"{earlier.name}_")
    earlier.mkdir()
    for path in present:
        path.rename(earlier / path.name)
    return earlier


def append_scalars(work_dir: Path, row: Mapping[str, Any]) -> None:
    """Add one line to scalars.jsonl; OSError that names it where it cannot be written."""
    path = work_dir / SCALARS
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error


def read_scalars(work_dir: Path) -> list[dict[str, Any]]:
    """All lines of scalars.jsonl; one that is cut off by a crash, or damaged, is left out with a warning."""
    path = work_dir / SCALARS
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    rows = []
    for line in filter(str.strip, text.split("\n")):
        row = _read_row(line)
        if row is None:
            logger.warning("%s: left out a line that is damaged: %.40r", path, line)
        else:
            rows.append(row)
    return rows


def _read_row(line: str) -> dict[str, Any] | None:
    """Numbers by name, the iteration among them; None for what is something else."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    right = isinstance(row, dict) and type(row.get("iter")) is int and "\N{REPLACEMENT CHARACTER}" not in line
    return row if right and all(value is None or isinstance(value, int | float) for value in row.values()) else None


def was_validated(work_dir: Path, iteration: int) -> bool:
    """Whether the scores at this iteration are among the scalars, or the run ended before they were there."""
    return any(row["iter"] == iteration and "loss" not in row for row in read_scalars(work_dir))


def truncate_scalars(work_dir: Path, iteration: int) -> None:
    """Drop what was written after the checkpoint that a run resumes from."""
    rows = [row for row in read_scalars(work_dir) if row["iter"] <= iteration]
    write_text(work_dir / SCALARS, "".join(json.dumps(row) + "\n" for row in rows))


@contextmanager
def held_warnings() -> Iterator[list[logging.LogRecord]]:
    """What the block warns of, kept for the log of a run that has no folder yet; said at once if the block fails."""
    held = _Held(logging.WARNING)
    is_heard = logger.hasHandlers()
    logger.addHandler(held)
    try:
        yield held.records
    except BaseException:
        for record in [] if is_heard or logging.lastResort is None else held.records:
            logging.lastResort.handle(record)
        raise
    finally:
        logger.removeHandler(held)


class _Held(logging.Handler):
    def __init__(self, level: int):
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def run_logging(work_dir: Path, *, held: Iterable[logging.LogRecord] = ()) -> Iterator[None]:
    """Send the first process's messages to the terminal and to log.txt, for as long as the block lasts.

    A progress bar is begun before: messages then appear above it. `held` are messages of before, which come first.
    """
    handlers: list[logging.Handler] = []
    if rank_and_size()[0] == 0:
        handlers = [logging.StreamHandler(sys.stdout), _LogFile(work_dir / LOG, encoding="utf-8")]
    for handler in handlers:
        handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
        logger.addHandler(handler)
        for record in held:
            handler.handle(record)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        # Of DDP, and nothing a user could act on.
        with ignore_warnings("Grad strides do not match bucket view strides") if in_group() else nullcontext():
            yield
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


class _LogFile(logging.FileHandler):
    """A log whose disk may be full: a run then ends, and says so, where it writes scores or weights."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class _Lines(logging.Formatter):
    """Messages as they are, but for characters of names that would move the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n")


def only_in_file(message: str) -> None:
    """A line for log.txt that the progress bar already shows on the terminal."""
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)
