"""Our own file of weights: what its header says, which file is meant, and reading it once."""

from densevit.checkpoint.files import (
    Checkpoint,
    build_backbone,
    build_classifier,
    build_clip,
    build_model,
    open_checkpoint,
    without_weights,
    write_checkpoint,
)
from densevit.checkpoint.header import Header
from densevit.weights.files import WEIGHTS, find_weights
