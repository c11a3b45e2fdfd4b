"""Training: configs, runs that survive crashes, and their scores."""

from densevit.train.config import check_config, load_config, parse_overrides
from densevit.train.loop import CheckpointError
from densevit.train.run import RunResult, train
from densevit.train.score import TestResult
from densevit.train.score import score_checkpoint as test  # what is called test... would be taken for a test
