"""One run at a time in a folder: a lock that the system gives back when its process ends, however that happens."""

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

NAME = "run.lock"  # in the run's folder while it runs; after a crash it stays there and holds nobody up
_held: set[Path] = set()  # by this process, to which the system would give its own lock again
_looking = Lock()


@contextmanager
def only_run_in(folder: Path) -> Iterator[None]:
    """Hold a folder, which must be there, for as long as the block lasts.

    Raises ValueError, in one sentence with host and process, where another run holds it. A disk that knows no locks
    holds nobody up.
    """
    path = folder.resolve() / NAME
    with _looking:
        if path in _held:
            raise ValueError(_in_use(folder, f"this process, {os.getpid()}"))
        descriptor = _take(path, folder)
        _held.add(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        _held.discard(path)


def _take(path: Path, folder: Path) -> int:
    """Open the lock's file and lock it; another run that ends meanwhile may have removed it just then."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            # Of the process, not of the open file: a loader's workers, which outlive a killed run, hold nothing.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            said = os.read(descriptor, 1000).decode("utf-8", "replace").strip()
            os.close(descriptor)
            raise ValueError(_in_use(folder, said or "a process that has just begun")) from None
        except OSError:
            return descriptor
        if _is_named(path, descriptor):
            break
        os.close(descriptor)
    os.ftruncate(descriptor, 0)
    started = time.strftime("%Y-%m-%d %H:%M:%S")
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}, started {started}\n".encode())
    return descriptor


def _is_named(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _in_use(folder: Path, holder: str) -> str:
    number = 2
    while (free := folder.with_name(f"{folder.name}_{number}")).exists():
        number += 1
    return (
        f"{folder} is in use by another run ({holder}); wait for its end or stop it, or choose another folder with "
        f"--work-dir, such as {free}"
    )
