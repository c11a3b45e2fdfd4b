"""What was found in label files, kept until a file changes: one small JSON file a set in the user's cache folder."""

import hashlib
import json
import logging
import os
from pathlib import Path

from densevit.data.picture_set import Pair, SegmentationDataset
from densevit.files import write_text

logger = logging.getLogger("densevit")


def cache_folder() -> Path:
    """DENSEVIT_CACHE, else densevit/ in XDG_CACHE_HOME or ~/.cache."""
    own, shared = os.environ.get("DENSEVIT_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(shared) if shared else Path.home() / ".cache") / "densevit"


class LabelCache:
    """{label path: [stamps of label and image, {train id: pixels}]}; a cache that cannot be used is done without."""

    def __init__(self, path: Path, entries: dict):
        self.path = path
        self.entries = entries

    @classmethod
    def open(cls, dataset: SegmentationDataset) -> "LabelCache":
        """The cache of this set: same label files, read with the same coding and EXIF mode."""
        name = repr((dataset.codings, dataset.exif, [os.path.abspath(label) for _, label in dataset.files]))
        path = cache_folder() / f"labels-{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            entries = {}
        return cls(path, entries if isinstance(entries, dict) else {})

    def get(self, pair: Pair) -> dict[int, int] | None:
        """{train id: pixels}, or None where nothing is known or a file has changed."""
        entry = self.entries.get(pair[1])
        if not isinstance(entry, list) or len(entry) != 2 or entry[0] != _stamps(pair):
            return None
        return {int(value): int(count) for value, count in entry[1].items()}

    def put(self, pair: Pair, values: dict[int, int]) -> None:
        self.entries[pair[1]] = [_stamps(pair), values]

    def save(self) -> None:
        """Write beside the target, then rename: a killed run leaves the old file or the new one."""
        try:
            write_text(self.path, json.dumps(self.entries))
        except OSError as error:
            logger.debug("what was found in the labels is not kept for the next time: %s", error)


def _stamps(pair: Pair) -> list[int]:
    stats = [os.stat(path) for path in pair]
    return [number for stat in stats for number in (stat.st_mtime_ns, stat.st_size)]
