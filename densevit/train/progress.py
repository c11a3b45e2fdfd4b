"""What the terminal shows while a run lasts: a bar with ETA, or log lines where nobody watches."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn


class Display:
    """Bars for training and validation; without a terminal it draws nothing and `watched` is False."""

    def __init__(self, *, enabled: bool):
        self.watched = enabled
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
        )
        # Messages go through sys.stdout, which rich redirects so that they appear above the bar.
        self.bars = Progress(*columns, console=Console(file=sys.stdout), disable=not enabled)
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, done: int, total: int, *, note: str = "") -> None:
        """Draw the bar called `name` at `done` of `total`."""
        if name not in self._tasks:
            self._tasks[name] = self.bars.add_task(name, total=total, note=note)
        self.bars.update(self._tasks[name], completed=done, total=total, note=note)

    def hide(self, name: str) -> None:
        """Take a bar away."""
        if name in self._tasks:
            self.bars.remove_task(self._tasks.pop(name))


@contextmanager
def display(*, enabled: bool) -> Iterator[Display]:
    """Bars for as long as the block lasts, drawn only on a terminal."""
    shown = Display(enabled=enabled and sys.stdout.isatty())
    with shown.bars:
        yield shown


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
