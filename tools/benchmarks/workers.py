"""Contenders in processes of their own that take turns: none lives with memory that another has left behind."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.timing import synchronize


class Worker:
    """A process that builds its work from `job` and does it each time it is asked: `benchmark.py NAME --worker JOB`."""

    def __init__(self, name: str, job: Mapping[str, object]):
        program = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), name, "--worker", json.dumps(job)]
        self.process = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def turn(self) -> float:
        """Seconds of one turn."""
        return float(self._ask("turn"))

    def result(self, path: Path) -> Tensor:
        """What the work gives, handed over through a file."""
        self._ask(f"save {path}")
        result = torch.load(path)
        path.unlink()
        return result

    def close(self) -> None:
        """End the process."""
        self.process.communicate("end\n")

    def _ask(self, what: str) -> str:
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a contender failed with status {self.process.wait()}; its own words stand above")
        return line.strip()


def serve(work: Callable[[], object], device: str) -> None:
    """The other end: do the work, once for each line that asks for it."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        command, _, path = line.strip().partition(" ")
        if command == "end":
            return
        synchronize(device)
        start = time.perf_counter()
        result = work()
        synchronize(device)
        seconds = time.perf_counter() - start
        if command == "save":
            torch.save(result.cpu() if isinstance(result, Tensor) else result, path)
        del result
        sys.stdout.write(f"{seconds}\n")
        sys.stdout.flush()


def take_turns(workers: Mapping[str, Worker], *, rounds: int) -> dict[str, list[float]]:
    """Every worker once a round, after one warm-up round: seconds of each, in the order of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for turn in range(rounds + 1):
        for name, worker in workers.items():
            took = worker.turn()
            if turn:
                seconds[name].append(took)
    return seconds
