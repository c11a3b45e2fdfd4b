"""Bars on the terminal for what takes long, drawn where somebody watches."""

import sys
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text


class Bars:
    """Bars by name, for as long as a `with` block lasts: `with Bars() as bars: bars.show("predict", 3, 10)`.

    Where `stream` (by default stderr) is no terminal, or `enabled` is False, nothing is drawn and `watched` is False.
    """

    def __init__(self, *, enabled: bool = True, stream: TextIO | None = None):
        stream = stream or sys.stderr
        self.watched = enabled and stream.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Note())
        # What is printed meanwhile appears above the bars, and a stream that is not watched keeps what is its own.
        watched = dict(redirect_stdout=sys.stdout.isatty(), redirect_stderr=sys.stderr.isatty())
        self._progress = Progress(*columns, console=Console(file=stream), disable=not self.watched, **watched)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, name: str, done: int, total: int, *, note: str = "") -> None:
        """Draw the bar called `name` at `done` of `total`; behind it the note, or how long the rest will take."""
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, completed=done, note=note)
        self._progress.update(self._tasks[name], completed=done, total=total, note=note)

    def hide(self, name: str) -> None:
        """Take a bar away."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))


class _Note(TimeRemainingColumn):
    def render(self, task: Task) -> Text:
        """The note of a bar, or the time that is left."""
        return Text(task.fields["note"]) if task.fields["note"] else super().render(task)
