"""Writing files and folders so that a name never stands for half of one, whatever moment a run is killed at.

docs/decisions/written_aside.md says how a folder takes the place of another.
"""

import ctypes
import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Concatenate, ParamSpec, TypeVar

from densevit.quoting import sentence

AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux: <fcntl.h>, <linux/fs.h>
ASIDE = re.compile(r"\.[0-9a-f]{12}\..+", re.DOTALL)  # names that `_name_aside` gives
PathType, Content, Options = TypeVar("PathType"), TypeVar("Content"), ParamSpec("Options")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says when there is no room for more
FORMER = ".former"  # ending of a folder that was moved aside


@contextmanager
def replacing(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """A name beside `path`, of the same ending, to write a file to or to make a folder at.

    It takes the place of `path` when the block ends well, and is removed otherwise. The folder above is made.
    `durable` results survive a power cut as well as a crash; a cache can do without. Raises OSError that names `path`:
    a full disk does not say which file it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _name_aside(path)
    try:
        yield aside
        for each in [*aside.rglob("*"), aside] if durable else []:
            _sync(each)
        if aside.is_dir():
            publish_folder(aside, path)
        else:
            os.replace(aside, path)
        if durable:
            _sync(path.parent)
    except OSError as error:
        if error.errno is None or not str(error.filename or aside).startswith(str(aside)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        _remove(aside)


@contextmanager
def about_file(path: object, *, verb: str = "read") -> Iterator[None]:
    """Whatever goes wrong inside is said of this file: what libraries raise on odd files becomes a ValueError.

    MemoryError stays as it is, and OSError with the file's name. A ValueError becomes one line, whatever names and
    texts of the file it quotes.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    except ValueError as error:
        if sentence(str(error)) == str(error):
            raise
        raise ValueError(sentence(str(error))) from error
    except MemoryError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise ValueError(
            f"{path} cannot be {verb} ({type(error).__name__}{': ' * bool(text)}{text}); it is damaged, or unlike "
            "the files that are known: get it again, or leave it out"
        ) from error


def reads_a_file(
    read: Callable[Concatenate[PathType, Options], Content],
) -> Callable[Concatenate[PathType, Options], Content]:
    """A function whose first argument is a path, under `about_file`."""

    @wraps(read)
    def named(path: PathType, *args: Options.args, **options: Options.kwargs) -> Content:
        with about_file(path):
            return read(path, *args, **options)

    return named


def write_text(path: Path, text: str) -> None:
    """Replace a text file in one step; names of files that are no UTF-8 stay as they are."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", errors="surrogateescape")


def publish_folder(aside: Path, target: Path) -> None:
    """Give a complete folder the name `target`, in the place of a folder that may be there, which is removed.

    A crash at any moment leaves one of the two under the name, at the latest once `recover_folder` was called. Raises
    OSError and leaves `aside` where that is not possible.
    """
    recover_folder(target)
    former = _former(target)
    shutil.rmtree(former, ignore_errors=True)
    try:
        os.replace(aside, target)  # a new name, or that of an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if exchange(aside, target):
            former = aside
        else:
            os.replace(target, former)
            os.replace(aside, target)
    _sync(target.parent)
    shutil.rmtree(former, ignore_errors=True)


def recover_folder(target: Path) -> None:
    """Put the former folder back where a crash came after it was moved aside and before the new one was in place.

    To be called before a folder that `publish_folder` writes is read or listed; costs one look at the disk.
    """
    if not target.exists():
        with suppress(FileNotFoundError):
            os.replace(_former(target), target)


def recover_folders(parent: Path) -> None:
    """The same for all folders that lie in `parent`."""
    for former in parent.glob(f".*{FORMER}"):
        recover_folder(parent / former.name[1 : -len(FORMER)])


def exchange(first: Path, second: Path) -> bool:
    """Let two names change places in one step; False, and nothing done, where system or disk know no such step."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    names = (AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second))
    return rename is not None and rename(*names, RENAME_EXCHANGE) == 0


def remove_folder(folder: Path) -> None:
    """Remove a folder so that a crash halfway leaves nothing under its name."""
    aside = _name_aside(folder)
    os.replace(folder, aside)
    shutil.rmtree(aside)


def check_writable(folder: Path, *, what: str = "output folder", advice: str = "choose another one") -> None:
    """Make the folder and prove that it takes files, by writing one and removing it.

    Raises NotADirectoryError or PermissionError: one sentence with `what` the folder is for, and the way out.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"the {what} {folder} is a file; give a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder) as probe:
            probe.write(b"probe")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PermissionError(f"cannot write to the {what} {folder}: {reason}; {advice}") from error


def remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left beside the names that they wrote."""
    for path in folder.glob(".*"):
        if ASIDE.fullmatch(path.name):
            _remove(path)


def system_error(error: BaseException) -> OSError | None:
    """What the system said, such as that a disk is full: the error, or the one that led to it; None for others."""
    seen: BaseException | None = error
    while seen is not None and not (isinstance(seen, OSError) and seen.strerror):
        seen = seen.__cause__ or seen.__context__
    return seen


def sha256(path: str | Path) -> str:
    """The checksum of a file, as `sha256sum` prints it."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name_aside(path: Path) -> Path:
    """A hidden name that no other process takes, short enough for every file system."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}.{path.name[-50:]}")


def _former(target: Path) -> Path:
    return target.with_name(f".{target.name}{FORMER}")


def _sync(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
