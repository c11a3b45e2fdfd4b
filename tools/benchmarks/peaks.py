"""Memory of one forward, each in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import peak_megabytes, reset_peak, resident_megabytes


def in_own_process(*command: str) -> float:
    """Run `benchmark.py` with these arguments; the number on its last line."""
    program = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), *command]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def forward_peak(model: Callable[[Tensor], object], image: Tensor, *, warm_up: Tensor) -> float:
    """Memory that one forward adds to what is held, in MB (10^6 bytes); on CUDA, the allocator's peak.

    `warm_up` is a small input that makes the libraries' one-time allocations first.
    """
    model(warm_up)
    if image.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        model(image)
        return torch.cuda.max_memory_allocated() / 1e6
    reset_peak()
    before = resident_megabytes()
    model(image)
    return peak_megabytes() - before
