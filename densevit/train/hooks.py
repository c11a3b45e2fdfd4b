"""What happens around an iteration: stop signals, averaged weights, scalars and messages, checkpoints, scores."""

import logging
import math
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor

from densevit.processes import any_process, gather
from densevit.progress import Bars
from densevit.train.model import WeightAverage
from densevit.train.progress import Stopwatch
from densevit.train.record import Recorder

logger = logging.getLogger("densevit")


class StopSignal:
    """Remembers SIGTERM and SIGINT while its block lasts; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        logger.warning("%s received: saving after this iteration, then stopping", self.received.name)

    @contextmanager
    def listening(self) -> Iterator["StopSignal"]:
        """Handle the signals in this block; Python lets only the main thread do so."""
        numbers = (signal.SIGTERM, signal.SIGINT) if current_thread() is main_thread() else ()
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class AverageHook(Hook):
    """Keeps the moving average of the weights."""

    priority = "HIGH"

    def __init__(self, decay: float):
        self.decay = decay

    def before_run(self, runner: Any) -> None:
        runner.average = WeightAverage(runner.training_model.segmentor, self.decay)

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        runner.average.update(runner.training_model.segmentor)


class ScalarHook(Hook):
    """Means over `interval` iterations to scalars.jsonl, TensorBoard, log.txt and the terminal."""

    priority = "NORMAL"

    def __init__(self, recorder: Recorder, display: Bars, *, interval: int):
        self.recorder, self.display, self.interval = recorder, display, interval
        self.watch = Stopwatch()
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.watch.start()

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any, outputs: dict[str, Tensor]) -> None:
        self.watch.stop()
        values = dict(outputs)
        if runner.optim_wrapper.grad_norm is not None:
            values["grad_norm"] = runner.optim_wrapper.grad_norm.detach()
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0) + value
        self._count += 1
        if (
            (runner.iter + 1) % self.interval == 0
            or runner.iter + 1 == runner.max_iters
            or runner.train_loop.stop_training
        ):
            self._write(runner)

    def _write(self, runner: Any) -> None:
        iteration, total = runner.iter + 1, runner.max_iters
        sums = {name: float(value) / self._count for name, value in self._sums.items()}
        seconds = self.watch.take_window()
        everyone = gather(dict(**sums, num_ignored=runner.train_loop.num_ignored))
        means = {name: sum(process[name] for process in everyone) / len(everyone) for name in sums}
        groups = runner.optim_wrapper.optimizer.param_groups
        row = dict(
            iter=iteration,
            **{name: value if math.isfinite(value) else None for name, value in means.items()},
            lr=groups[0]["lr"],
            lr_max=max(group["lr"] for group in groups),
            seconds_per_iter=seconds,
            ignored_batches=sum(process["num_ignored"] for process in everyone),
        )
        if runner.device.type == "cuda":
            row["memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
        self._sums, self._count = {}, 0
        self.recorder.add_row(row)
        note = f"loss {means['loss']:.4f}  lr {row['lr']:.2e}  {1 / max(seconds, 1e-9):.2f} it/s"
        note += f"  eta {self.watch.eta(total - iteration)}"
        if row["ignored_batches"]:
            note += f"  ignored batches {row['ignored_batches']}"
        self.display.show("train", iteration, total, note=note)
        self.recorder.say(f"iter {iteration}/{total}  {note}", on_terminal=not self.display.watched)


class StopHook(Hook):
    """Ends the loop after the iteration in which any process got a signal."""

    priority = "VERY_HIGH"

    def __init__(self, stop: StopSignal):
        self.stop = stop

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        if any_process(self.stop.received is not None)[0]:
            runner.train_loop.stop_training = True


class CheckpointHook(Hook):
    """Saves every `interval` iterations, after the last one, and when the run is told to stop."""

    priority = "VERY_LOW"

    def __init__(self, *, interval: int):
        self.interval = interval

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        iteration = runner.iter + 1
        if iteration % self.interval == 0 or iteration == runner.max_iters or runner.train_loop.stop_training:
            saved = runner.save()
            if saved is not None:
                logger.info("saved %s", saved.folder.name)


class ScoreHook(Hook):
    """Shows the scores of a validation, records them, and keeps the best weights."""

    priority = "NORMAL"

    def __init__(self, recorder: Recorder, *, classes: tuple[str, ...]):
        self.recorder, self.classes = recorder, classes
        self.scores: dict[str, Any] | None = None

    def after_val_epoch(self, runner: Any, metrics: dict[str, Any] | None = None) -> None:
        evaluation = (metrics or {}).get("evaluation")
        if evaluation is None:
            logger.warning("validation at iteration %d was stopped before its end", runner.iter)
            return
        self.scores = evaluation.scores.as_dict(self.classes)
        means = {name: value for name, value in self.scores.items() if name != "classes"}
        self.recorder.add_row(dict(iter=runner.iter, **means), prefix="val/")
        self.recorder.add_pictures(evaluation.pictures, iteration=runner.iter)
        self.recorder.say(f"validation at iteration {runner.iter}\n{evaluation.scores.table(self.classes)}")
        self.recorder.keep_best(runner, scores=self.scores)
