"""What was found in files, remembered until one of them changes."""

import hashlib
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import Any

import densevit
from densevit.files import sha256
from densevit.pictures.picture import IMAGE_ENDINGS, VIDEO_ENDINGS

DETACHED = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
HEADER_BYTES = 2**16
# A file changed so recently may change again within one tick of its time stamp; some systems keep whole seconds.
UNSURE_NS, UNSURE_SECONDS_NS = 20_000_000, 2_000_000_000
WHOLE_FILES = (".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz")  # one file holds all of a volume
Files = tuple[str, ...]
Stamps = list[list[int]]  # of each file: number, size, time of change and time of status change, in bytes and ns
PACKAGE = Path(densevit.__file__).parent
READING = ("data", "pictures", "volumes", "normalization.py", "labels.py")  # what samples are made by


def cache_folder() -> Path:
    """DENSEVIT_CACHE, else densevit/ in XDG_CACHE_HOME or ~/.cache."""
    own, shared = os.environ.get("DENSEVIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "densevit"


class Findings:
    """A SQLite file that remembers, by the files' places and by what was asked, what was found (JSON).

    Any number of threads and processes may share it. A file has changed when its size, its time of change or, where the
    system keeps one, its time of last status change (which `touch` and `cp -p` cannot set back) is another, or another
    file has taken its name. What other code found, that of an earlier version, is not recalled. A memory that is
    damaged is begun anew, and one that cannot be written is done without.
    """

    def __init__(self, folder: Path | None = None):
        self.path = (cache_folder() if folder is None else folder) / "findings.sqlite"

    def recall(self, items: Sequence[Files], asked: str) -> list[Any]:
        """What was found in each item's files, None where nothing is known or a file has changed since."""
        found: list[Any] = [None] * len(items)
        if not self.path.is_file():
            return found
        try:
            with closing(sqlite3.connect(self.path)) as memory:
                for i, files in enumerate(items):
                    query = "SELECT stamps, found FROM findings WHERE key = ?"
                    stamps, content = memory.execute(query, (_key(files, asked),)).fetchone() or (None, None)
                    if stamps is not None and stamps == json.dumps(file_stamps(files)):
                        found[i] = json.loads(content)
        except sqlite3.OperationalError:
            pass  # busy, or not ours to read
        except (sqlite3.Error, ValueError, TypeError, RecursionError):
            with suppress(OSError):
                self.path.unlink()
        return found

    def remember(self, entries: Iterable[tuple[Files, Stamps, Any]], asked: str) -> None:
        """Keep (files, their stamps before they were read, what was found) of those that have stayed as they were."""
        rows = [
            (_key(files, asked), json.dumps(stamps), json.dumps(found))
            for files, stamps, found in entries
            if _are_settled(stamps) and file_stamps(files) == stamps
        ]
        if not rows:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path)) as memory, memory:
                memory.execute("CREATE TABLE IF NOT EXISTS findings (key TEXT PRIMARY KEY, stamps TEXT, found TEXT)")
                memory.executemany("INSERT OR REPLACE INTO findings VALUES (?, ?, ?)", rows)
        except (sqlite3.Error, OSError):
            pass  # found again next time


class FileHashes:
    """The sha256 of files, each read once until it changes."""

    def __init__(self, folder: Path):
        self.findings = Findings(folder)
        self._known: dict[str, tuple[Stamps, str]] = {}

    def of(self, path: str | Path) -> str:
        """The sha256 in hexadecimal; FileNotFoundError, OSError with the path."""
        name = os.path.abspath(path)
        stamps = file_stamps((name,))
        if stamps and stamps == self._known.get(name, ("", ""))[0]:
            return self._known[name][1]
        (digest,) = self.findings.recall([(name,)], "sha256")
        if digest is None:
            digest = sha256(name)
            self.findings.remember([((name,), stamps, digest)], "sha256")
        if _are_settled(stamps) and file_stamps((name,)) == stamps:
            self._known[name] = (stamps, digest)
        return digest


def content_key(paths: Sequence[str | Path], transform: Any, *, hashes: FileHashes) -> str:
    """64 hexadecimal digits that tell what the files hold and what is done to it; `transform` must be JSON.

    Names and places of the files do not matter, their order does, and so does the code that reads them.
    """
    sources = [[hashes.of(file) for file in source_files(path)] for path in paths]
    text = json.dumps([sources, transform, code_digest()], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def source_files(path: str | Path) -> list[Path]:
    """Every file that reading an image or a volume from `path` may look at, sorted; FileNotFoundError without any.

    A folder stands for all files in it, a header with its data in another file for both, and a file of a DICOM series,
    which has an ending of its own or none, for its folder.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        return found or _missing(path)
    if not path.is_file():
        return _missing(path)
    name = path.name.lower()
    if name.endswith((*WHOLE_FILES, *IMAGE_ENDINGS, *VIDEO_ENDINGS)):
        return [path]
    if name.endswith((".mhd", ".nhdr")):
        with path.open("rb") as file:
            named = DETACHED.search(file.read(HEADER_BYTES))
        data = path.parent / os.fsdecode(named[1]) if named else None
        if data is not None and data.is_file():
            return [path, data]
    return source_files(path.parent)


def file_stamps(files: Files) -> Stamps:
    """Of all files, or none where one is missing."""
    try:
        found = [os.stat(file) for file in files]
    except OSError:
        return []
    return [[each.st_ino, each.st_size, each.st_mtime_ns, each.st_ctime_ns] for each in found]


def _are_settled(stamps: Stamps) -> bool:
    """Whether all files were changed so long ago that another change would have another stamp."""
    last = max((stamp for *_, modified, changed in stamps for stamp in (modified, changed)), default=time.time_ns())
    return time.time_ns() - last > (UNSURE_NS if last % 10**9 else UNSURE_SECONDS_NS)


def _key(files: Files, asked: str) -> str:
    places = [os.path.abspath(file) for file in files]
    return hashlib.sha256(json.dumps([places, asked, code_digest()]).encode()).hexdigest()


@cache
def code_digest(package: Path = PACKAGE) -> str:
    """64 hexadecimal digits of the code that reads files and makes samples of them: mended code looks again."""
    found = [path for name in READING for path in [package / name, *sorted((package / name).rglob("*.py"))]]
    return hashlib.sha256(" ".join(sha256(path) for path in found if path.is_file()).encode()).hexdigest()


def _missing(path: Path) -> list[Path]:
    raise FileNotFoundError(f"no such file, or an empty folder: {path}; check the path")
