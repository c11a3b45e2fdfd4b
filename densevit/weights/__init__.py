"""Loading weights: ours and every official release whose key map we hold."""

from pathlib import Path

from torch import nn


def load_weights(model: nn.Module, path: str | Path, *, source: str | None = None, strict: bool = True) -> object:
    """Placeholder until the key maps land."""
    raise NotImplementedError
