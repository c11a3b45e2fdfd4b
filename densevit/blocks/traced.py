"""What `torch.jit.trace` and `torch.export` do not see: decisions in Python, which they keep as they fell once.

Where a decision follows from the size of the image, a trace either takes the way that is right for every size, or it
checks the size each time that it runs and refuses others.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from densevit.environment import ignore_warnings

ANY = 2**62  # no bound


def is_plain_cpu(tensor: Tensor) -> bool:
    """True for values in the CPU's memory, false for what a compiler or an exporter traces."""
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
    return type(tensor) is Tensor and tensor.device.type == "cpu" and not traced


def within_bounds(grid: Tensor, low: Sequence[int], high: Sequence[int], *, why: str) -> Tensor:
    """The grid (B, *S, C) as it is; in a trace a check that S lies between the bounds, whenever it runs.

    Elsewhere nothing is checked. A trace raises torch.jit.Error whose last line is one sentence, `why` at its end.
    """
    if not torch.jit.is_tracing():
        return grid
    seen = [int(s) for s in grid.shape[1:-1]]
    message = f"this trace was made with {_times(seen)} cells and does not fit other sizes: {why}; trace the model anew"
    return _checked()(grid, [int(n) for n in low], [int(n) for n in high], message)


def refuse_any_size(size: Sequence[int], *, who: str) -> None:
    """ValueError where `torch.export` is to make a program of images of any size."""
    if torch.compiler.is_exporting() and any(isinstance(s, torch.SymInt) for s in size):
        raise ValueError(
            f"{who} does other things for other sizes of the image, so that no program fits all of them; export it for "
            "one size, without dynamic_shapes along the axes of the image"
        )


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))


@cache
def _checked() -> torch.jit.ScriptFunction:
    with ignore_warnings():  # it is deprecated, as tracing is
        return torch.jit.script(_check)


def _check(grid: torch.Tensor, low: list[int], high: list[int], message: str) -> torch.Tensor:
    for axis in range(len(low)):
        if grid.size(axis + 1) < low[axis] or grid.size(axis + 1) > high[axis]:
            raise ValueError(message)
    return grid
