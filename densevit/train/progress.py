"""How long iterations take, and how long the rest will."""

import time
from datetime import timedelta


class Stopwatch:
    """Seconds per iteration over the last window and over the whole run, validation and saving left out."""

    def __init__(self) -> None:
        self._started = 0.0
        self.window: list[float] = []
        self.total, self.count = 0.0, 0

    def start(self) -> None:
        self._started = time.perf_counter()

    def stop(self) -> None:
        seconds = time.perf_counter() - self._started
        self.window.append(seconds)
        self.total, self.count = self.total + seconds, self.count + 1

    def take_window(self) -> float:
        """Mean seconds per iteration since the last call."""
        mean = sum(self.window) / max(len(self.window), 1)
        self.window.clear()
        return mean

    def eta(self, remaining: int) -> str:
        """Time for `remaining` iterations as h:mm:ss."""
        return str(timedelta(seconds=round(self.total / max(self.count, 1) * remaining)))
