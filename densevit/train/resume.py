"""Where a run continues, and the random numbers with which it does."""

import json
import logging
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
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


def set_seed(seed: int, *, deterministic: bool = False) -> None:
    """Seed python, numpy and torch; `deterministic` also asks torch for repeatable GPU kernels."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)
    torch.backends.cudnn.benchmark = not deterministic


def get_random_state() -> dict[str, Any]:
    """Every generator's state in types that `torch.load(weights_only=True)` reads."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, next_gauss = random.getstate()
    return dict(
        torch=torch.get_rng_state(),
        cuda=torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        numpy=[kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss],
        python=[version, list(internal), next_gauss],
    )


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `get_random_state` took."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    kind, keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state((kind, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, next_gauss = state["python"]
    random.setstate((version, tuple(internal), next_gauss))
