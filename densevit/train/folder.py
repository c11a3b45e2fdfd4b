"""The folder of a run: held by one run at a time, an earlier run in it moved aside, and its log.

config.py  log.txt  scalars.jsonl  curves.png  checkpoints/  last_checkpoint  best/  tensorboard/
"""

import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from logging.handlers import MemoryHandler
from pathlib import Path
from threading import Lock

from densevit.environment import ignore_warnings
from densevit.files import check_writable
from densevit.processes import in_group, rank_and_size
from densevit.quoting import printable
from densevit.runs.folder import BOARD, CONFIG, CURVES, FAILED, HELD, LOCK, LOG, SCALARS
from densevit.weights.files import BEST, POINTER, SNAPSHOTS

logger = logging.getLogger("densevit")

RUN_FILES = (CONFIG, LOG, SCALARS, CURVES, SNAPSHOTS, POINTER, BEST, BOARD)
_looking = Lock()


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Make the folder and hold it for as long as the block lasts; the system lets go of it when the process ends.

    Raises ValueError, in one sentence, where it cannot be written, and with host and process where another run holds
    it. A disk that knows no locks holds nobody up.
    """
    try:
        check_writable(folder, what="work dir", advice="choose another with --work-dir")
    except OSError as error:
        raise ValueError(str(error)) from None
    path = folder.resolve() / LOCK
    with _looking:
        if path in HELD:
            raise ValueError(_in_use(folder, f"this process, {os.getpid()}"))
        descriptor = _lock(path, folder)
        HELD.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        HELD.discard(path)


def _lock(path: Path, folder: Path) -> int:
    """Open the lock's file and lock it; another run that ends meanwhile may have removed it just then."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Of the process, not of the open file: a loader's workers, which outlive a killed run, hold nothing.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.stat(path), os.fstat(descriptor)):
                break
        except FileNotFoundError:
            pass
        except (BlockingIOError, PermissionError):
            holder = os.read(descriptor, 1000).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise ValueError(_in_use(folder, holder or "a process that has just begun")) from None
        except OSError:
            return descriptor
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, started {started}\n".encode())
    return descriptor


def _in_use(folder: Path, holder: str) -> str:
    number = 2
    while (free := folder.with_name(f"{folder.name}_{number}")).exists():
        number += 1
    return (
        f"{folder} is in use by another run ({holder}); wait for its end or stop it, or choose another folder with "
        f"--work-dir, such as {free}"
    )


def move_earlier_run(folder: Path) -> None:
    """Move what an earlier run left in the folder to a folder inside, and say so."""
    present = [folder / name for name in RUN_FILES if (folder / name).exists()]
    if not present:
        return
    earlier = folder / time.strftime("earlier_%Y%m%d_%H%M%S")
    while earlier.exists():
        earlier = earlier.with_name(f"{earlier.name}_")
    earlier.mkdir()
    for path in present:
        path.rename(earlier / path.name)
    logger.warning("%s held an earlier run, moved to %s", folder, earlier.name)


@contextmanager
def held_warnings() -> Iterator[list[logging.LogRecord]]:
    """What the block warns of, kept for the log of a run that has no folder yet; said at once if the block fails."""
    held = MemoryHandler(sys.maxsize, flushLevel=sys.maxsize)
    held.setLevel(logging.WARNING)
    is_heard = logger.hasHandlers()
    logger.addHandler(held)
    try:
        yield held.buffer
    except BaseException:
        for record in [] if is_heard or logging.lastResort is None else held.buffer:
            logging.lastResort.handle(record)
        raise
    finally:
        logger.removeHandler(held)


@contextmanager
def run_logging(folder: Path, *, held: Iterable[logging.LogRecord] = ()) -> Iterator[None]:
    """Send the first process's messages to the terminal and to log.txt, for as long as the block lasts.

    A progress bar is begun before: messages then appear above it. `held` are messages of before, which come first.
    Records with a true `only_in_file` are for log.txt alone.
    """
    handlers: list[logging.Handler] = []
    if rank_and_size()[0] == 0:
        terminal = logging.StreamHandler(sys.stdout)
        terminal.addFilter(lambda record: not getattr(record, "only_in_file", False))
        handlers = [terminal, _LogFile(folder / LOG, encoding="utf-8")]
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
    except BaseException as error:
        if handlers:  # the command says so on the terminal
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            logger.error("%s %s", FAILED, said, extra=dict(only_in_file=True))
        raise
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
