"""Prepared cases kept on disk for the next epoch, worker, process and run: docs/fingerprint.md says what that means."""

import logging
import os
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from densevit.data.findings import FileHashes, cache_folder, content_key
from densevit.files import replacing
from densevit.options import read_options
from densevit.texts import format_bytes, parse_bytes
from densevit.weights.files import write_tensors

logger = logging.getLogger("densevit")
Arrays = dict[str, np.ndarray]
ENDING = ".arrays"
LEFT_OVER_SECONDS = 3600  # a half-written file of this age has nobody writing it
DEFAULT_BYTES = "50GB"


@dataclass(frozen=True, kw_only=True)
class CacheOptions:
    """The keys of `cache` in a data set's config; folder None is `cases` in `cache_folder()`."""

    folder: str | None = None
    max_bytes: int | str = DEFAULT_BYTES


class CaseCache:
    """Arrays by key in one folder of at most `max_bytes`; the least recently used entries make room for new ones.

    Any number of processes may share the folder: an entry appears whole or not at all, and two that make the same one
    write the same. What was loaded stays readable when its entry is deleted. A folder that cannot be written, or a full
    disk, is done without, after one warning.
    """

    def __init__(self, folder: str | Path, *, max_bytes: int | str = DEFAULT_BYTES):
        self.folder = Path(folder)
        self.max_bytes = parse_bytes(max_bytes)
        self.hashes = FileHashes(self.folder)
        self.num_made = 0  # entries that were not found, and so were made
        self._writes = True
        self._used: set[str] = set()  # keys that this process loaded whole, and whose checksum was right
        self._told_full = False

    def load(self, paths: Sequence[str | Path], transform: Any, make: Callable[[], Mapping[str, np.ndarray]]) -> Arrays:
        """What `make` makes of these files, kept under what they hold and the `transform` (JSON) that it does.

        Files that change while they are read are not kept.
        """
        key = content_key(paths, transform, hashes=self.hashes)
        return self.load_key(key, make, still=lambda: content_key(paths, transform, hashes=self.hashes) == key)

    def load_key(
        self, key: str, make: Callable[[], Mapping[str, np.ndarray]], *, still: Callable[[], bool] = lambda: True
    ) -> Arrays:
        """The arrays kept under `key`, mapped into memory, or those of `make()`, which are kept if `still()` holds.

        Writing to them changes nothing on disk. An entry that is damaged is made anew.
        """
        path = self.folder / key[:2] / f"{key}{ENDING}"
        kept = self._mapped(key, path)
        if kept is not None:
            return kept
        self.num_made += 1
        made = {name: np.asarray(array, order="C") for name, array in make().items()}
        if not self._writes or not still() or not self._keep(path, made):
            return made
        return self._mapped(key, path) or made

    def _mapped(self, key: str, path: Path) -> Arrays | None:
        try:
            arrays = _map(path, verify=key not in self._used)
            self._used.add(key)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, SafetensorError) as error:
            logger.debug("made anew: %s", error)
            _delete(path)
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return arrays

    def _keep(self, path: Path, arrays: Arrays) -> bool:
        """Write an entry, then make room; False where it cannot be kept."""
        size = sum(array.nbytes for array in arrays.values())
        if size > self.max_bytes:
            return self._go_without(
                f"a case takes {format_bytes(size)}, and max_bytes is {format_bytes(self.max_bytes)}"
            )
        try:
            with replacing(path, durable=False) as aside:
                write_tensors(aside, arrays, metadata=dict(crc32=_checksum(arrays)))
        except OSError as error:
            return self._go_without(f"{getattr(error, 'strerror', None) or error}: {path}")
        self._make_room(keep=path)
        return True

    def _make_room(self, *, keep: Path) -> None:
        entries, now = [], time.time()
        for path, stat in _files(self.folder):
            if path.name.startswith(".") and now - stat.st_mtime > LEFT_OVER_SECONDS:
                _delete(path)
            else:
                entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries):
            if total <= self.max_bytes:
                return
            if path != keep and path.suffix == ENDING and not path.name.startswith("."):
                _delete(path)
                total -= size
                if path.stem in self._used and not self._told_full:
                    self._told_full = True
                    logger.warning(
                        "the cache %s holds %s, and the cases in use take more: some are prepared again each time; "
                        "raise max_bytes in cache=dict(max_bytes='200GB')",
                        *(self.folder, format_bytes(self.max_bytes)),
                    )

    def _go_without(self, reason: str) -> bool:
        self._writes = False
        logger.warning("prepared cases are not kept, which costs time alone (%s)", reason)
        return False


def create_case_cache(config: Mapping[str, Any] | bool | None) -> CaseCache | None:
    """None for False and None; True is the default folder; a dict holds the keys of `CacheOptions`."""
    if config is None or config is False:
        return None
    options = read_options(CacheOptions, {} if config is True else config, where="cache")
    folder = cache_folder() / "cases" if options.folder is None else Path(options.folder).expanduser()
    return CaseCache(folder, max_bytes=options.max_bytes)


def _map(path: Path, *, verify: bool) -> Arrays:
    """The arrays of a file, as pages of it: writing to them changes this process's copy alone.

    `verify` reads all of it. ValueError or SafetensorError for what is no whole file of arrays.
    """
    with safe_open(path, framework="pt") as file:  # which maps, where framework="numpy" would copy
        names = list(file.keys())
        arrays = {name: file.get_tensor(name).numpy() for name in names}
        if verify and (file.metadata() or {}).get("crc32") != _checksum(arrays):
            raise ValueError(f"{path} is damaged: its checksum is another")
    return arrays


def _checksum(arrays: Arrays) -> str:
    checksum = 0
    for _, array in sorted(arrays.items()):
        checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data, checksum)
    return str(checksum)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Those that are there while this looks."""
    found = []
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            try:
                found.append((path, path.stat()))
            except OSError:
                continue
    return found


def _delete(path: Path) -> None:
    """Another process may have been first, and some systems keep a file that is in use."""
    with suppress(OSError):
        path.unlink()
