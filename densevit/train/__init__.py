"""Training: configs, runs that survive crashes, and their scores.

Public names are imported on first use.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "CheckpointError": "loop",
    "RunResult": "run",
    "TestResult": "score",
    "check_config": "config",
    "load_config": "config",
    "parse_overrides": "config",
    "test": "score",
    "train": "run",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'densevit.train' has no attribute {name!r}")
    value = getattr(import_module(f"densevit.train.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
