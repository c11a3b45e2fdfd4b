"""The training engine, the home of mmengine: configs, runs that survive crashes, and their scores.

Public names are imported on first use: reading `densevit.train.config.overrides` costs no mmengine.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "CheckpointError": "runner",
    "RunResult": "run",
    "TestResult": "score",
    "check_config": "config.config",
    "load_config": "config.config",
    "parse_overrides": "config.overrides",
    "test": "score",
    "train": "run",
    "train_from_args": "arguments",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'densevit.train' has no attribute {name!r}")
    value = getattr(import_module(f"densevit.train.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
