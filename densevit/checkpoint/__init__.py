"""Our own file of weights: what its header says, which file is meant, and reading it once."""

from densevit.checkpoint.files import WEIGHTS, Checkpoint, build_model, find_weights, open_checkpoint, write_checkpoint
from densevit.checkpoint.header import Header
