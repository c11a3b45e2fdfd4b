"""Damaged files one after another, each read in a process of its own kind, which may hang or die."""

import multiprocessing
import os
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from tools.fuzzing.kind import Kind, Sample, is_equal

MEMORY = 3 * 2**30  # bytes that reading one small file may take beside what the process has
LONGEST = 5000  # characters of a sentence
OUTCOMES = ("clear", "right", "silently wrong", "crash")


@dataclass(frozen=True)
class Outcome:
    """What became of input number `index`: one of `OUTCOMES`, and the reason, or the trace of a crash."""

    index: int
    kind: str
    said: str
    name: str = ""


def damaged(samples: list[Sample], originals: list[bytes], *, seed: int, index: int) -> tuple[int, bytes, bool]:
    """Which sample, its damaged content, and whether a checksum should tell: the same for the same seed and index."""
    rng = np.random.default_rng([seed, index])
    chosen = int(rng.integers(len(samples)))
    content, told = samples[chosen].damage(originals[chosen], rng)
    return chosen, content, told and content != originals[chosen]


def try_one(sample: Sample, content: bytes, original: bytes, *, expected: object, told: bool, index: int) -> Outcome:
    """Write the content in the place of the sample, read it, and put the sample back."""
    try:
        sample.path.write_bytes(content)
        found = sample.read()
    except Exception as error:
        clear = _is_clear(error, sample)
        said = str(error) if clear else "".join(traceback.format_exception(error, limit=-6))
        return Outcome(index, "clear" if clear else "crash", said, sample.path.name)
    finally:
        sample.path.write_bytes(original)
    strange = sample.allowed is not None and not sample.allowed.issuperset(np.unique(found).tolist())
    wrong = strange or (told and not is_equal(found, expected))
    return Outcome(
        index, "silently wrong" if wrong else "right", "values of no class" if strange else "", sample.path.name
    )


def _is_clear(error: Exception, sample: Sample) -> bool:
    """Whether it is one sentence about this file, of the kinds of error that commands show as sentences."""
    text = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    if not isinstance(error, ValueError | OSError | KeyError) or not 10 <= len(text) <= LONGEST or "\n" in text:
        return False
    return not sample.named or sample.path.name in text or str(sample.path.parent) in text


def inputs(
    make: Kind, folder: Path, *, seed: int, start: int, count: int, ready: Callable[[], None] = lambda: None
) -> Iterator[Outcome]:
    """The outcomes of inputs start, start + 1, ... in this process; `ready` is called once the samples are made."""
    folder.mkdir(parents=True)
    samples = make(folder)
    originals = [sample.path.read_bytes() for sample in samples]
    expected = [sample.read() for sample in samples]
    ready()
    for index in range(start, start + count):
        i, content, told = damaged(samples, originals, seed=seed, index=index)
        yield try_one(samples[i], content, originals[i], expected=expected[i], told=told, index=index)


def _serve(make: Kind, folder: Path, seed: int, start: int, count: int, pipe: Connection) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())  # of what libraries say of each file
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    for outcome in inputs(make, folder, seed=seed, start=start, count=count, ready=lambda: pipe.send(None)):
        pipe.send(outcome)


def run(
    make: Kind, folder: Path, *, seed: int, minutes: float, limit: float, count: int = 10**9
) -> tuple[Counter, list[Outcome]]:
    """Read damaged files for so long, or so many; a process that takes `limit` seconds for one, or dies, is replaced.

    Returns how many outcomes of each kind there were, and those that should not be.
    """
    counts: Counter = Counter()
    bad: list[Outcome] = []
    end, index, turn = time.monotonic() + 60 * minutes, 0, 0
    while time.monotonic() < end and index < count:
        here, there = multiprocessing.Pipe(duplex=False)
        options = (make, folder / str(turn), seed, index, count - index, there)
        process = multiprocessing.get_context("fork").Process(target=_serve, args=options, daemon=True)
        process.start()
        there.close()
        turn += 1
        try:
            here.recv()
        except EOFError:
            raise RuntimeError("the samples cannot be made or read; try --only 0") from None
        while time.monotonic() < end and index < count:
            try:
                outcome = here.recv() if here.poll(limit) else Outcome(index, "crash", f"no end within {limit:.1f} s")
            except EOFError:
                process.join()
                outcome = Outcome(index, "crash", f"the process ended with {process.exitcode}")
            index = outcome.index + 1
            counts[outcome.kind] += 1
            bad += [outcome] if outcome.kind in ("crash", "silently wrong") else []
            if not outcome.name:  # it hangs or is dead
                break
        process.kill()
        process.join()
    return counts, bad
