"""Seconds of the parts of a prediction, by name."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass
class Stopwatch:
    """`seconds` of each part; a part that comes several times is added up."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(part, time.perf_counter() - start)

    def add(self, part: str, seconds: float) -> None:
        self.seconds[part] = self.seconds.get(part, 0.0) + seconds


class TimedNetwork:
    """A network (B, C, *S) -> (B, K, *S) that knows how long its forwards took; a GPU is not waited for."""

    def __init__(self, network: Callable[[Tensor], Tensor], *, device: torch.device):
        self.network = network
        self.on_gpu = device.type == "cuda"
        self.times: list[float] = []
        self.events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def __call__(self, x: Tensor) -> Tensor:
        if not self.on_gpu:
            start = time.perf_counter()
            logits = self.network(x)
            self.times.append(time.perf_counter() - start)
            return logits
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        logits = self.network(x)
        end.record()
        self.events.append((begin, end))
        return logits

    def seconds(self) -> float:
        """Of all forwards so far; on a GPU, once their results are there."""
        return sum(self.times) + sum(begin.elapsed_time(end) for begin, end in self.events) / 1000
