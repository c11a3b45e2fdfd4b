"""Where a run continues."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from densevit.checkpoint import open_checkpoint
from densevit.checkpoint.snapshots import Snapshot, find_snapshot

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Resumption:
    """A snapshot of a run and what was read from it."""

    snapshot: Snapshot
    weights: dict[str, Tensor]
    state: dict[str, Any]


def find_resumption(folder: Path, *, model: Mapping[str, Any]) -> Resumption | None:
    """The last whole snapshot in a run folder, read; None, with a warning, if there is none.

    `model` is the model section of this run's header: ValueError if the snapshot is of another one.
    """
    snapshot = find_snapshot(folder)
    if snapshot is None:
        logger.warning("nothing to resume in %s: starting from the first iteration", folder)
        return None
    saved = open_checkpoint(snapshot.weights)
    there, here = (json.loads(json.dumps(each)) for each in (saved.header.model, model))
    different = [key for key, value in here.items() if there.get(key) != value]
    if different:
        said = ", ".join(f"{key} is {there.get(key)} there and {here[key]} here" for key in different)
        raise ValueError(f"{snapshot.folder} is of another model ({said}); choose another --work-dir")
    logger.info("resuming from %s", snapshot.folder)
    return Resumption(snapshot, saved.tensors, snapshot.read_state())
