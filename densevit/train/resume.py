"""Where a run continues."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from densevit.train.checkpoint import Checkpoint, find_checkpoint
from densevit.weights import read_weights

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Resumption:
    """A checkpoint and what was read from it."""

    checkpoint: Checkpoint
    weights: dict[str, Tensor]
    state: dict[str, Any]


def find_resumption(folder: Path, *, model: Mapping[str, Any]) -> Resumption | None:
    """The last whole checkpoint in a run folder, read; None, with a warning, if there is none.

    `model` is the model section of this run's header: ValueError if the checkpoint is of another one.
    """
    checkpoint = find_checkpoint(folder)
    if checkpoint is None:
        logger.warning("nothing to resume in %s: starting from the first iteration", folder)
        return None
    weights, header = read_weights(checkpoint.weights)
    there, here = (header or {}).get("model", {}), json.loads(json.dumps(model))
    different = [key for key, value in here.items() if there.get(key) != value]
    if different:
        said = ", ".join(f"{key} is {there.get(key)} there and {here[key]} here" for key in different)
        raise ValueError(f"{checkpoint.folder} is of another model ({said}); choose another --work-dir")
    logger.info("resuming from %s", checkpoint.folder)
    return Resumption(checkpoint, weights, checkpoint.read_state())
