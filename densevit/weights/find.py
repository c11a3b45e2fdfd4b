"""Which weights file a folder stands for: that of a run, or the one that holds the file."""

import re
from pathlib import Path

WEIGHTS = "weights.safetensors"  # in each of the folders
# Of a run: the folder of the best weights, that of its snapshots, and the file that names the newest snapshot.
BEST, SNAPSHOTS, POINTER = "best", "checkpoints", "last_checkpoint"
SNAPSHOT = re.compile(r"iter_[0-9]+")  # the names of snapshots


def find_weights(checkpoint: str | Path) -> Path:
    """A file itself, that of a folder, or the best (else the last) of a run's folder; FileNotFoundError for none."""
    path = Path(checkpoint)
    if path.is_file():
        return path
    snapshots = path / SNAPSHOTS
    found = [folder for folder in snapshots.glob("iter_*") if SNAPSHOT.fullmatch(folder.name)]
    newest = sorted(found, key=lambda folder: int(folder.name[5:]), reverse=True)
    pointed = [snapshots / name for name in [_last_folder(path)] if name is not None]
    for folder in (path, path / BEST, *pointed, *newest):
        if (folder / WEIGHTS).is_file():
            return folder / WEIGHTS
    raise FileNotFoundError(
        f"no checkpoint at {path}; give a {WEIGHTS} that training wrote, the folder that holds it, or that of a run"
    )


def _last_folder(run: Path) -> str | None:
    """The name of a run's newest folder of `SNAPSHOTS`, as its pointer says; None where that says nothing."""
    try:
        name = (run / POINTER).read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
    except (OSError, ValueError):  # of a name with a null byte
        return None
    return name if SNAPSHOT.fullmatch(name) else None
