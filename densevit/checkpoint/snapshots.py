"""Snapshots of a run that survive crashes: written aside, synced, renamed, pointed at, then the old ones are removed.

checkpoints/iter_N/weights.safetensors   what prediction needs, config in the header
checkpoints/iter_N/state.pt              what resuming needs besides: plain tensors, numbers, strings, lists
checkpoints/iter_N/SHA256SUMS            their checksums, `sha256sum -c` reads it
last_checkpoint                          the name of the newest one and its checksums
best/weights.safetensors                 the weights with the best validation score so far
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from densevit.checkpoint.files import open_checkpoint, write_checkpoint
from densevit.checkpoint.header import Header
from densevit.files import recover_folders, remove_folder, remove_leftovers, replacing, sha256, system_error, write_text
from densevit.weights.files import BEST, POINTER, SNAPSHOT, SNAPSHOTS, WEIGHTS

logger = logging.getLogger("densevit")

STATE, SUMS = "state.pt", "SHA256SUMS"
WRITE_ERRORS = (OSError, RuntimeError)  # what a write that fails may raise: Python's own, and torch's zip writer's


class CheckpointError(OSError):
    """A checkpoint could not be written or read; the message is one sentence with the way out."""


@dataclass(frozen=True)
class Snapshot:
    """One folder `checkpoints/iter_N`: weights and all that resuming needs."""

    folder: Path

    @property
    def iteration(self) -> int:
        return int(self.folder.name.removeprefix("iter_"))

    @property
    def weights(self) -> Path:
        return self.folder / WEIGHTS

    def read_state(self) -> dict[str, Any]:
        """What `save_snapshot` got as `state`, on the CPU. CheckpointError for what is none; code in it never runs."""
        path, cause = self.folder / STATE, None
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(state, dict):
                return state
        except Exception as error:  # a damaged file can fail in any way; torch's advice is to run the code in it
            cause = error
        raise CheckpointError(
            f"{path} is no state of a run although its checksum is right; remove its folder to resume from an older "
            "one, or train without --resume to start anew"
        ) from cause

    def fault(self) -> str | None:
        """Why this checkpoint cannot be used, or None: every file must be there with the checksum it was saved with."""
        try:
            lines = (self.folder / SUMS).read_text(encoding="utf-8", errors="replace").split("\n")
            sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines if line)}
            for name in (WEIGHTS, STATE):
                if sha256(self.folder / name) != sums.get(name):
                    return f"{name} does not match its checksum"
        except OSError as error:
            return f"{Path(error.filename or SUMS).name}: {(error.strerror or str(error)).lower()}"
        return None

    def is_pointed_at(self, work_dir: Path) -> bool:
        """Whether the run's pointer names this one with its checksums; a damaged pointer names none."""
        try:
            sums = (self.folder / SUMS).read_bytes()
            return (work_dir / POINTER).read_bytes() == f"{self.folder.name}\n".encode() + sums
        except OSError:
            return False


def list_snapshots(work_dir: Path) -> list[Snapshot]:
    """All complete names under `checkpoints/`, newest first."""
    recover_folders(work_dir / SNAPSHOTS)
    found = [Snapshot(each) for each in (work_dir / SNAPSHOTS).glob("iter_*") if SNAPSHOT.fullmatch(each.name)]
    return sorted(found, key=lambda checkpoint: checkpoint.iteration, reverse=True)


def find_snapshot(work_dir: Path) -> Snapshot | None:
    """The checkpoint to resume from: the last one, or with a warning the newest that is whole; None if there is none.

    Raises CheckpointError when checkpoints are there and every one is damaged.
    """
    candidates = list_snapshots(work_dir)
    candidates.sort(key=lambda checkpoint: not checkpoint.is_pointed_at(work_dir))
    faults = []
    for checkpoint in candidates:
        fault = checkpoint.fault()
        if fault is None:
            if faults:
                logger.warning("%s; resuming from the older %s", "; ".join(faults), checkpoint.folder.name)
            return checkpoint
        faults.append(f"checkpoint {checkpoint.folder.name} is damaged ({fault})")
    if faults:
        raise CheckpointError(
            f"no checkpoint in {work_dir / SNAPSHOTS} can be used: {'; '.join(faults)}; "
            "train without --resume to start anew"
        )
    return None


def save_snapshot(
    work_dir: Path,
    iteration: int,
    *,
    weights: Mapping[str, Tensor],
    header: Header,
    state: dict[str, Any],
    max_keep: int = 2,
) -> Snapshot:
    """Write `checkpoints/iter_N`, point `last_checkpoint` at it, remove all but the newest `max_keep`.

    On any failure, a full disk included, raises CheckpointError and leaves every earlier checkpoint as it was.
    """
    target = work_dir / SNAPSHOTS / f"iter_{iteration}"
    try:
        with replacing(target) as folder:
            folder.mkdir()
            write_checkpoint(folder / WEIGHTS, dict(weights), header)
            with open(folder / STATE, "wb") as file:
                torch.save(state, file)
            sums = "".join(f"{sha256(folder / name)}  {name}\n" for name in (WEIGHTS, STATE))
            (folder / SUMS).write_text(sums, encoding="utf-8")
        write_text(work_dir / POINTER, f"{target.name}\n{sums}")
    except WRITE_ERRORS as error:
        whole = next((each.folder.name for each in list_snapshots(work_dir) if each.fault() is None), None)
        left = f"{whole} is whole, continue from it with --resume" if whole else "there is no earlier one, train anew"
        said = f"could not save checkpoint {target.name} in {work_dir} ({_reason(error)})"
        raise CheckpointError(f"{said}; {left} once the cause is removed") from error
    try:
        # The newest up to this iteration are kept; later ones are of a run that a damaged checkpoint cut off.
        found = list_snapshots(work_dir)
        kept = [each for each in found if each.iteration <= iteration][:max_keep]
        for each in found:
            if each not in kept:
                remove_folder(each.folder)
    except OSError as error:
        logger.warning("%s is saved, but an older checkpoint could not be removed: %s", target.name, error)
    return Snapshot(target)


def _reason(error: Exception) -> str:
    """The system's word, such as "No space left on device", also where torch's writer speaks of its own trouble."""
    cause = system_error(error)
    return cause.strerror if cause is not None else str(error).split("\n", 1)[0]


def clean_up(work_dir: Path) -> None:
    """Remove what interrupted saves left in a run's folder; put back a folder that was moved aside last."""
    recover_folders(work_dir / SNAPSHOTS)
    for leftover in (work_dir / SNAPSHOTS).glob(".*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for folder in (work_dir, work_dir / BEST):
        remove_leftovers(folder)


def save_best(work_dir: Path, *, weights: Mapping[str, Tensor], header: Header) -> Path:
    """Replace `best/weights.safetensors` in one step; CheckpointError if that fails, the former best staying."""
    path = work_dir / BEST / WEIGHTS
    try:
        write_checkpoint(path, dict(weights), header)
    except WRITE_ERRORS as error:
        raise CheckpointError(
            f"could not save the best weights to {path} ({_reason(error)}); the former ones, if any, are unchanged"
        ) from error
    return path


def best_score(work_dir: Path, *, by: str = "mIoU") -> float | None:
    """The validation score `by` name of `best/weights.safetensors`, or None."""
    path = work_dir / BEST / WEIGHTS
    if not path.is_file():
        return None
    try:
        header = open_checkpoint(path, classifiers=True, backbones=True).header
        score = (header.training or {}).get("scores", {}).get(by)
        return score if type(score) in (int, float) else None
    except (ValueError, OSError) as error:
        logger.warning("the best weights %s cannot be read (%s) and will be replaced", path, error)
        return None
