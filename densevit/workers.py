"""The processes that read data for a loader: how they live, how they end, and what became of one that was killed."""

import os
import re
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.sharedctypes import RawArray
from traceback import clear_frames
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

LOST = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:exited|is killed by signal)")
SIGNAL = re.compile(r"is killed by signal: ([A-Za-z ]+)")
NO_ROOM = re.compile(r"shared memory|/torch_\d|MemoryError in DataLoader worker|Cannot allocate memory")


class WorkerError(OSError):
    """A process that reads data was ended by the system; the message is one sentence with the way out."""


class Workers:
    """What begins in each worker of one loader, as its `worker_init_fn`, and ends them from outside.

    A Ctrl-C or a scheduler's SIGTERM reaches every process of a run, and the main one then saves and stops by itself:
    until that ends them, workers go on.
    """

    def __init__(self, count: int):
        self._pids = RawArray("i", max(count, 1))
        self._leaving = RawArray("i", 1)

    def __call__(self, worker: int) -> None:
        self._pids[worker] = os.getpid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._leave)

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if self._leaving[0]:
            os._exit(0)  # torch takes any other end for a failure

    def begin(self) -> None:
        """To be called before the loader starts them."""
        self._leaving[0] = 0

    def end(self) -> None:
        """End those that still run, whatever they are doing."""
        self._leaving[0] = 1
        for process in active_children():
            if process.pid in self._pids[:]:
                process.terminate()


def one_by_one(samples: Dataset, *, num_workers: int, order: Iterable[int] | None = None) -> DataLoader:
    """A loader of single samples, all or those of `order`, that leaves torch's global generator alone."""
    return DataLoader(
        samples,
        batch_size=None,
        sampler=order,
        num_workers=num_workers,
        generator=torch.Generator().manual_seed(0),
        worker_init_fn=Workers(num_workers),
    )


@contextmanager
def drawing(batches: Iterable[Any]) -> Iterator[Iterator[Any]]:
    """What a loader gives, or any iterable; its workers have ended when the block has, by an error as well.

    Raises WorkerError in the place of what torch says of a worker that was killed.
    """
    found = batches.worker_init_fn if isinstance(batches, DataLoader) else None
    workers = found if isinstance(found, Workers) else Workers(0)
    workers.begin()
    drawn = (batch for batch in batches)  # which can be closed
    try:
        yield drawn
    except BaseException as error:
        workers.end()
        clear_frames(error.__traceback__)  # the loader's among them, which would keep it until the process ends
        sentence = explain_loss(error)
        if sentence is not None:
            raise WorkerError(sentence) from error
        raise
    finally:
        workers.end()
        drawn.close()


def explain_loss(error: BaseException) -> str | None:
    """What an error of torch says of a lost worker or of memory that ran out, in one sentence; None for others."""
    if not isinstance(error, RuntimeError | MemoryError):
        return None
    text = f"{error} {error.__cause__ or ''}"
    lost, number = LOST.search(text), SIGNAL.search(text)
    if lost is None and not NO_ROOM.search(text):
        return None
    advice = (
        "set the config's num_workers, train_data.batch_size or augment.crop_size lower, or give a container more "
        "shared memory, such as --shm-size=8g"
    )
    if lost is None:
        return f"a process that reads data could not get memory, or shared memory, for its samples; {advice}"
    who = f"a process that reads data ({lost[1]}) was ended by the system"
    how = f", {number[1].strip().lower()}" if number else ""
    if "fault" in how:
        return f"{who}{how}: a fault in a library; set num_workers=0 in the config's data sections to see where"
    return f"{who}{how}: its memory or shared memory ran out; {advice}"
