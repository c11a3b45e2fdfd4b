"""Names for what files hold: the sha256 of their bytes, remembered until the file system says that they changed."""

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from densevit.files import replacing, sha256

WHOLE_FILES = (".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz")  # one file holds all of a volume
DETACHED = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
HEADER_BYTES = 2**16
UNSURE_SECONDS = 2.0  # a file changed so recently may change again within one tick of its time stamp


class FileHashes:
    """The sha256 of files; one small file in `folder` remembers each, with the stamps of when it was read.

    A file is read again when its size, its time of change or, where the system keeps one, its time of last status
    change (which `touch` and `cp -p` cannot set back) is another. A folder that cannot be written is done without.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._known: dict[str, tuple[list[int], str]] = {}

    def of(self, path: str | Path) -> str:
        """The sha256 in hexadecimal; FileNotFoundError, OSError with the path."""
        name = os.path.abspath(path)
        stamps = file_stamps(name)
        stored = self._known.get(name) or self._read(name)
        if stored is not None and stored[0] == stamps:
            self._known[name] = stored
            return stored[1]
        digest = sha256(name)
        settled = time.time_ns() - max(stamps[1:]) > UNSURE_SECONDS * 1e9
        if settled and file_stamps(name) == stamps:
            self._known[name] = (stamps, digest)
            self._write(name)
        return digest

    def _place(self, name: str) -> Path:
        return self.folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.json"

    def _read(self, name: str) -> tuple[list[int], str] | None:
        try:
            content = json.loads(self._place(name).read_text(encoding="utf-8"))
            stamps, digest = content["stamps"], content["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (stamps, digest) if re.fullmatch("[0-9a-f]{64}", str(digest)) else None

    def _write(self, name: str) -> None:
        stamps, digest = self._known[name]
        try:
            with replacing(self._place(name), durable=False) as aside:
                aside.write_text(json.dumps(dict(path=name, stamps=stamps, sha256=digest)), encoding="utf-8")
        except OSError:
            pass  # hashed again next time; that the folder cannot be written is said by the cache itself


def content_key(paths: Sequence[str | Path], transform: Any, *, hashes: FileHashes) -> str:
    """64 hexadecimal digits that tell what the files hold and what is done to it; `transform` must be JSON.

    Names and places of the files do not matter, their order does.
    """
    sources = [[hashes.of(file) for file in source_files(path)] for path in paths]
    text = json.dumps([sources, transform], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def source_files(path: str | Path) -> list[Path]:
    """Every file that reading a volume from `path` may look at, sorted; FileNotFoundError where there is none.

    A folder stands for all files in it, a header with its data in another file for both, and a file of a DICOM series
    for its folder.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        return found or _missing(path)
    if not path.is_file():
        return _missing(path)
    name = path.name.lower()
    if name.endswith(WHOLE_FILES):
        return [path]
    if name.endswith((".mhd", ".nhdr")):
        named = DETACHED.search(_head(path))
        data = path.parent / os.fsdecode(named[1]) if named else None
        if data is not None and data.is_file():
            return [path, data]
    return source_files(path.parent)


def file_stamps(path: str | Path) -> list[int]:
    """Size, time of change and time of status change, in bytes and nanoseconds."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEADER_BYTES)


def _missing(path: Path) -> list[Path]:
    raise FileNotFoundError(f"no such file, or an empty folder: {path}; check the path")
