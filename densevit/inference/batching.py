"""How many windows one forward sees: a given number, or as many as a measurement allows.

Where memory runs out, the number is halved and the work goes on.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from densevit.inference.layout import Index
from densevit.inference.memory import available_bytes, is_out_of_memory, peak_above

logger = logging.getLogger("densevit")
Predict = Callable[[Tensor], Tensor]

MOST_WINDOWS = 16  # beyond, a GPU is full and only memory grows
SHARE = 0.8  # of the memory that is free, which a batch may take
WORTH = 0.95  # of one window's time: each of two together must take less than this, or larger batches do not pay


@dataclass(frozen=True)
class Trial:
    """A measured forward: how many windows it saw, seconds per window, and bytes added to memory at its peak."""

    windows: int
    seconds: float
    bytes: int


def try_windows(predict: Predict, batch: Tensor) -> tuple[Tensor, Trial]:
    """Run a batch and measure it."""
    _finish(batch.device)
    start = time.perf_counter()
    with peak_above(batch.device) as peak:
        logits = predict(batch)
        _finish(batch.device)
    return logits, Trial(len(batch), (time.perf_counter() - start) / len(batch), peak.bytes)


def solve_batch(one: Trial, two: Trial, room: int) -> int:
    """The most windows that fit into `SHARE` of `room` bytes, up to `MOST_WINDOWS`; 1 where two are no faster."""
    if two.seconds > WORTH * one.seconds:
        return 1
    further = max(two.bytes - one.bytes, two.bytes // 4, 1)  # never nothing: measurements have noise
    return max(1, min(MOST_WINDOWS, 1 + int((SHARE * room - one.bytes) // further)))


class BatchSize:
    """The number of windows of the next forward.

    "auto" first runs one window, so that libraries do what they do once; then it measures one more and two together,
    and computes from them how many fit. `fixed` fills every batch up to that number, so that compiled code sees one
    shape.
    """

    def __init__(self, size: int | str, *, fixed: bool = False):
        self.fixed = fixed
        self.trials: list[Trial] = []
        self.measuring = size == "auto"
        self.size = 1 if self.measuring else int(size)

    def halve(self, reason: str) -> None:
        """After an out-of-memory error; MemoryError where one window is already too much."""
        if self.size == 1:
            raise MemoryError(f"not enough memory for one window: {reason}; give a smaller roi_size or use amp")
        self.measuring = False
        logger.warning("out of memory with %d windows at once; going on with %d", self.size, self.size // 2)
        self.size //= 2

    def run(self, predict: Predict, batch: Tensor) -> Tensor:
        """Logits of a batch. The batch is measured as long as the size is not settled."""
        if not self.measuring or len(batch) < self.size:
            return predict(batch)
        logits, trial = try_windows(predict, batch)
        self.trials.append(trial)
        self.size = 2 if len(self.trials) == 2 else 1
        if trial.windows == 2:
            self.measuring = False
            self.size = solve_batch(*self.trials[1:], available_bytes(batch.device))
        return logits


def _finish(device: torch.device) -> None:
    """Wait until a GPU has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def forwards(
    predict: Predict, windows: Sequence[Index], *, cut: Callable[[Index], Tensor], size: BatchSize
) -> Iterator[tuple[Index, Tensor]]:
    """Each window's index and its logits (K, *roi), in order; `cut(index)` gives the window (C, *roi).

    A batch that does not fit into memory is run again in halves; what was done before stays done.
    """
    done = 0
    while done < len(windows):
        chunk = windows[done : done + size.size]
        repeated = [chunk[-1]] * (size.size - len(chunk)) if size.fixed else []
        try:
            batch = torch.stack([cut(index) for index in [*chunk, *repeated]])
            logits = size.run(predict, batch)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            reason = str(error).splitlines()[0]  # the error itself holds on to all that the forward had made
        else:
            yield from zip(chunk, check_logits(logits, batch), strict=False)
            del batch, logits  # they would still be there while the next ones are made
            done += len(chunk)
            continue
        batch = None
        size.halve(reason)


def check_logits(logits: Tensor, batch: Tensor) -> Tensor:
    """The logits, when they fit the windows: (B, C, *roi) -> (B, K, *roi); ValueError otherwise."""
    if not isinstance(logits, Tensor):
        raise ValueError(f"predict must return one tensor of logits, got a {type(logits).__name__}; pick them from it")
    if logits.ndim != batch.ndim or logits.shape[:1] + logits.shape[2:] != batch.shape[:1] + batch.shape[2:]:
        shapes = f"for windows {tuple(batch.shape)} it returned {tuple(logits.shape)}"
        raise ValueError(f"predict must keep batch and size: {shapes}; resize its logits to the window")
    return logits
