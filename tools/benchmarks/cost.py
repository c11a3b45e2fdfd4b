"""What a model costs: multiply-accumulates of one image, and time and memory of its forward in a process of its own."""

import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.peaks import forward_peak
from densevit.blocks import nd
from densevit.cli.models import CHANNELS, DECODERS_ON, SIZES, build
from densevit.macs import count_macs_of
from densevit.segmentor import list_decoders

ROUNDS, ENOUGH_SECONDS = 5, 20


def gmacs(name: str, spatial_dims: int) -> float:
    """Multiply-accumulates in 10^9."""
    with torch.device("meta"):
        module, x = _prepare(name, spatial_dims)
    return count_macs_of(module, [x]).total / 1e9


def time_and_memory(name: str, spatial_dims: int) -> dict[str, float]:
    """Median milliseconds of a forward, and the MB (10^6 bytes) that it adds to the weights and the input."""
    command = [sys.executable, str(Path(__file__).parents[1] / "model_table.py"), "--one", name]
    done = subprocess.run([*command, "--spatial-dims", str(spatial_dims)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@torch.inference_mode()
def measure_here(name: str, spatial_dims: int) -> dict[str, float]:
    """As `time_and_memory`, in this process, which should be fresh."""
    torch.manual_seed(0)
    module, x = _prepare(name, spatial_dims)
    probe = x if isinstance(x, Tensor) else x[0]
    peak = forward_peak(lambda _: module(x), probe, warm_up=probe)
    seconds: list[float] = []
    while len(seconds) < ROUNDS and sum(seconds) < ENOUGH_SECONDS:
        start = time.perf_counter()
        module(x)
        seconds.append(time.perf_counter() - start)
    return {"ms": 1000 * statistics.median(seconds), "peak_mb": peak}


def _prepare(name: str, spatial_dims: int) -> tuple[nn.Module, Tensor | list[Tensor]]:
    """A model and its image, or a decoder and the maps that the backbone it stands on would give it."""
    size, module = SIZES[spatial_dims], build(name, spatial_dims).eval()
    if name not in list_decoders():
        return module, torch.randn(1, CHANNELS[spatial_dims], *size)
    below = build(DECODERS_ON, spatial_dims)
    levels = zip(below.out_channels, below.out_strides, strict=True)
    return module, [torch.randn(1, c, *nd.ceil_div(size, stride)) for c, stride in levels]
