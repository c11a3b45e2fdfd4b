"""Where a run continues, and the random numbers with which it does."""

import json
import logging
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.checkpoint import open_checkpoint
from densevit.checkpoint.snapshots import STATE, CheckpointError, Snapshot, find_snapshot
from densevit.options import dotted

logger = logging.getLogger("densevit")

# Keys of a config that change no number of a run; the model is compared by its header, but for its frozen stages.
FREE = re.compile(
    r"name|work_dir|load_from|custom_imports|custom_hooks|visualization|test_data|model\.(?!backbone_options$).*"
    r"|model\.backbone_options\.(?!frozen$).*|(.*\.)?(num_workers|cache)"
    r"|train_cfg\.(log_interval|checkpoint_interval|val_interval|max_keep|best|compile|checkpointing)"
)
STATE_TYPES = dict(iteration=int, draws=int, random=list, optimizer=dict, scaler=dict)
ANEW = "remove its folder to resume from an older one, or train without --resume to start anew"


@dataclass(frozen=True)
class Resumption:
    """A snapshot of a run and what was read from it."""

    snapshot: Snapshot
    weights: dict[str, Tensor]
    state: dict[str, Any]


def find_resumption(
    folder: Path, *, model: Mapping[str, Any], settings: Mapping[str, Any] | None = None, max_iters: int | None = None
) -> Resumption | None:
    """The last whole snapshot in a run folder, read; None, with a warning, if there is none.

    `model` is of this run's header, `settings` are what `list_settings` gives of its config. ValueError if the snapshot
    is of another model or optimizer, or further than `max_iters`; other settings that differ are named in a warning.
    CheckpointError if its state cannot be used.
    """
    snapshot = find_snapshot(folder)
    if snapshot is None:
        logger.warning("nothing to resume in %s: starting from the first iteration", folder)
        return None
    saved = open_checkpoint(snapshot.weights, classifiers=True, backbones=True)
    there, here = (json.loads(json.dumps(each)) for each in (saved.header.model, model))
    different = [key for key, value in here.items() if there.get(key) != value]
    if different:
        said = ", ".join(f"{key} is {there.get(key)} there and {here[key]} here" for key in different)
        raise ValueError(f"{snapshot.folder} is of another model ({said}); choose another --work-dir")
    if max_iters is not None and snapshot.iteration > max_iters:
        raise ValueError(
            f"{snapshot.folder} is further than train_cfg.max_iters={max_iters} of this config; give more iterations, "
            "or choose another --work-dir"
        )
    state = snapshot.read_state()
    _check_state(state, snapshot)
    _compare(state.get("settings"), settings or {}, snapshot)
    logger.info("resuming from %s", snapshot.folder)
    return Resumption(snapshot, saved.tensors, state)


def list_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the numbers of a run, by dotted names and in JSON's types."""
    return dotted(config, leave_out=FREE.fullmatch)


def _check_state(state: Mapping[str, Any], snapshot: Snapshot) -> None:
    for key, kind in STATE_TYPES.items():
        if not isinstance(state.get(key), kind):
            raise CheckpointError(f"{snapshot.folder / STATE} holds no {key} that a run could go on from; {ANEW}")
    if state["iteration"] != snapshot.iteration or state["draws"] < 0:
        said = f"iteration {state['iteration']} after {state['draws']} samples"
        raise CheckpointError(f"{snapshot.folder / STATE} is of {said}, not of {snapshot.folder.name}; {ANEW}")


def _compare(there: Mapping[str, Any] | None, here: Mapping[str, Any], snapshot: Snapshot) -> None:
    """Name what differs; densevit 0.1.0 did not write it down."""
    if not isinstance(there, Mapping):
        return
    names = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    said = ", ".join(f"{name} was {there.get(name)!r} and is {here.get(name)!r}" for name in names)
    if "optimizer.type" in names:
        raise ValueError(f"{snapshot.folder} is of another optimizer ({said}); choose another --work-dir")
    if names:
        logger.warning(
            "the config is not the one that %s was trained with: %s; set it back to go on with the same run, or choose "
            "another --work-dir for a new one",
            snapshot.folder.name,
            said,
        )


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
