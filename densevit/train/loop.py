"""The loop: iterations, and what happens around them. It knows a task by `densevit.train.task.Task` alone."""

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn

from densevit.checkpoint.snapshots import STATE, CheckpointError, save_snapshot
from densevit.processes import StopSignal, any_process, gather, rank_and_size
from densevit.progress import Bars
from densevit.train.optim import OptimizerStep, ScheduleOptions
from densevit.train.record import Recorder
from densevit.train.resume import ANEW, Resumption, get_random_state, set_random_state
from densevit.train.schema import LoopOptions
from densevit.train.task import Task
from densevit.workers import drawing

logger = logging.getLogger("densevit")


class Loop:
    """Iterations of `accumulate` batches each, with log, validation and checkpoints at their times.

    `iteration` counts the finished ones, `draws` the samples that they took in all processes. An iteration is saved
    before it is validated.
    """

    def __init__(
        self,
        task: Task,
        options: LoopOptions,
        *,
        step: OptimizerStep,
        schedule: ScheduleOptions,
        recorder: Recorder,
        shown: Bars,
        stop: StopSignal,
        resumed: Resumption | None = None,
        hooks: Callable[["Loop"], Any] | None = None,
    ):
        self.task, self.options, self.step, self.schedule = task, options, step, schedule
        self.recorder, self.shown, self.stop, self.resumed = recorder, shown, stop, resumed
        self.stopping = False
        self.iteration, self.draws, self.saved = 0, 0, 0
        if resumed is not None:
            self.iteration = self.saved = resumed.state["iteration"]
            self.draws = resumed.state["draws"]
        self.batches = task.open_batches(self.draws)
        self.seconds: list[float] = []  # of each iteration, validation and saving left out
        self._logged = 0  # how many of them
        self._sums: dict[str, Tensor] = {}  # since then
        self._unchecked: list[tuple[int, Tensor]] = []
        self.hooks = None if hooks is None else hooks(self)

    def run(self) -> None:
        """Train to the end, or until a signal or a hook ends it; the last iteration is saved in any case."""
        self._call("before_run")
        if self.resumed is not None:
            self._restore(self.resumed)
        self._call("before_train")
        self._call("before_train_epoch")
        with drawing(self.batches) as batches:
            if self.resumed is not None and not self.recorder.was_validated(self.iteration):
                self._validate_if_due()
            while self.iteration < self.options.max_iters and not self.stopping:
                self.task.network.train()
                self._iterate(batches)
                self._validate_if_due()
        if self.saved != self.iteration:  # a hook ended the run after a validation
            self._save()
        self._call("after_train_epoch")
        self._call("after_train")
        self._call("after_run")

    def _call(self, stage: str, **given: Any) -> None:
        if self.hooks is not None:
            self.hooks.call_hook(stage, **given)

    def _is_due(self, interval: int, *, ahead: int = 0) -> bool:
        """Whether what happens every so many iterations, and after the last one, happens after iteration + `ahead`."""
        iteration = self.iteration + ahead
        return iteration % interval == 0 or iteration == self.options.max_iters

    def _iterate(self, batches: Iterator[Any]) -> None:
        """One update of the weights."""
        begun = time.perf_counter()
        batch = next(batches)
        self._call("before_train_iter", batch_idx=self.iteration, data_batch=batch)
        self.step.set_learning_rate(self.iteration, max_iters=self.options.max_iters, schedule=self.schedule)
        sums: dict[str, Tensor] = {}
        for i in range(self.options.accumulate):
            batch = next(batches) if i > 0 else batch
            for name, value in self._backward(batch, last=i + 1 == self.options.accumulate).items():
                sums[name] = sums.get(name, 0) + value.detach() / self.options.accumulate
        if self.task.before_update is not None:
            self.task.before_update()
        self.step.update()
        self.draws += self.task.batch_size * self.options.accumulate * rank_and_size()[1]
        self._unchecked.append((self.iteration + 1, sums["loss"]))
        # On a GPU the newest loss is still being computed: looking at it would stall the queue, so look one behind.
        self._check_losses(keep=0 if sums["loss"].device.type == "cpu" else 1)
        self.task.after_update()
        self.seconds.append(time.perf_counter() - begun)
        self.stopping = any_process(self.stop.received is not None)[0] or self.stopping
        self._log(sums)
        self._call("after_train_iter", batch_idx=self.iteration, data_batch=batch, outputs=sums)
        if self.stopping or self._is_due(self.options.checkpoint_interval, ahead=1):
            self._save(ahead=1)
        self.iteration += 1

    def _backward(self, batch: Any, *, last: bool) -> dict[str, Tensor]:
        """Add the gradients of one batch, shared between processes with the `last`; gives its losses and their sum."""
        network = self.task.network
        apart = isinstance(network, nn.parallel.DistributedDataParallel) and not last
        with network.no_sync() if apart else nullcontext():
            with self.step.autocast():
                losses = self.task.step(batch)
            loss = sum(losses.values())
            self.step.backward(loss)
        return dict(loss=loss, **losses)

    def _check_losses(self, *, keep: int = 0) -> None:
        """Raise ValueError for a loss that is nan or infinite, in any process, before anything of it is saved."""
        bad = None
        while len(self._unchecked) > keep:
            iteration, loss = self._unchecked.pop(0)
            if bad is None and not torch.isfinite(loss):
                bad = (iteration, loss.item())
        if any_process(bad is not None)[0]:
            iteration, value = bad or (self.iteration + 1, float("nan"))
            raise ValueError(
                f"the loss became {value} at iteration {iteration}, and nothing of it was saved: lower optimizer.lr, "
                "set train_cfg.clip_grad, or use train_cfg.amp='bf16' in place of 'fp16'"
            )

    def _log(self, losses: dict[str, Tensor]) -> None:
        """Add up, and at its time write means over the iterations since the last time and over processes."""
        losses = {**losses, **self.task.observed}
        if self.step.grad_norm is not None:
            losses["grad_norm"] = self.step.grad_norm.detach()
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, 0) + value
        if not self.stopping and not self._is_due(self.options.log_interval, ahead=1):
            return
        iteration, total = self.iteration + 1, self.options.max_iters
        window = self.seconds[self._logged :]
        sums = {name: float(value) / len(window) for name, value in self._sums.items()}
        self._sums, self._logged = {}, len(self.seconds)
        seconds, everyone = fmean(window), gather((sums, self.task.counts))
        means = {name: sum(mine[name] for mine, _ in everyone) / len(everyone) for name in sums}
        counts = {name: sum(mine[name] for _, mine in everyone) for name in self.task.counts}
        rates = [group["lr"] for group in self.step.optimizer.param_groups]
        finite = {name: value if math.isfinite(value) else None for name, value in means.items()}
        row = dict(iter=iteration, **finite, lr=rates[0], lr_max=max(rates), seconds_per_iter=seconds, **counts)
        if self.step.device_type == "cuda":
            row["memory_gb"] = torch.cuda.max_memory_allocated() / 2**30
        self.recorder.add_row(row)
        note = f"loss {means['loss']:.4f}  lr {rates[0]:.2e}  {1 / max(seconds, 1e-9):.2f} it/s"
        note += f"  eta {timedelta(seconds=round(fmean(self.seconds) * (total - iteration)))}"
        note += "".join(f"  {name.replace('_', ' ')} {count}" for name, count in counts.items() if count)
        self.shown.show("train", iteration, total, note=note)
        logger.info("iter %d/%d  %s", iteration, total, note, extra=dict(only_in_file=self.shown.watched))

    def _validate_if_due(self) -> None:
        if self.task.samples is None or self.stopping or not self._is_due(self.options.val_interval):
            return
        self._call("before_val")
        self._call("before_val_epoch")
        try:
            on_sample = None if self.hooks is None else self.hooks.on_sample
            found = self.task.validate(on_image=self._show_validation, on_sample=on_sample)
        finally:
            self.shown.hide("validate")
        if found is None:
            logger.warning("validation at iteration %d was stopped before its end", self.iteration)
        else:
            self.recorder.add_validation(found, self.task, iteration=self.iteration)
        self._call("after_val_epoch", metrics={} if found is None else found.means)
        self._call("after_val")

    def _show_validation(self, done: int, total: int) -> bool:
        """Draw how far the validation is; True to stop it for a signal, about which several processes may disagree."""
        self.shown.show("validate", done, total)
        return self.stop.received is not None and rank_and_size()[1] == 1

    def _save(self, *, ahead: int = 0) -> None:
        """Write a checkpoint; every process must call this. CheckpointError on failure."""
        self._check_losses()
        iteration = self.iteration + ahead
        trained, extra = (None, None) if self.hooks is None else self.hooks.before_save(iteration)
        states = gather(dict(random=get_random_state(), counts=self.task.counts))
        failure = None
        if rank_and_size()[0] == 0:
            state = dict(iteration=iteration, draws=self.draws, **self.step.state(), **self.task.state(), hooks=extra)
            state |= {key: [process[key] for process in states] for key in ("random", "counts")}
            try:
                save_snapshot(
                    self.recorder.folder,
                    iteration,
                    weights=self.task.weights(trained),
                    header=replace(self.task.header, training=dict(iteration=iteration)),
                    state=state,
                    max_keep=self.options.max_keep,
                )
            except CheckpointError as error:
                failure = error
        if any_process(failure is not None)[0]:
            raise failure or CheckpointError("the first process could not save the checkpoint")
        self.saved = iteration
        logger.info("saved iter_%d", iteration)

    def _restore(self, resumed: Resumption) -> None:
        """Put back all that `_save` wrote; ValueError for a run that was another, CheckpointError for what is none."""
        state, (rank, size) = resumed.state, rank_and_size()
        same_size = len(state["random"]) == size
        try:
            self.task.load(resumed.weights, state)
            self.step.load(state)
            if self.hooks is not None:
                self.hooks.after_load(state.get("hooks"))
            if same_size:
                self.task.counts.update(state.get("counts", {rank: {}})[rank])  # which densevit 0.1.0 did not write
                set_random_state(state["random"][rank])
        except ValueError:
            raise
        except Exception as error:  # what is no state of a run can fail in any way
            path, reason = resumed.snapshot.folder / STATE, " ".join(str(error).split())
            raise CheckpointError(f"{path} does not fit this run ({type(error).__name__}: {reason}); {ANEW}") from error
        if not same_size:
            logger.warning(
                "the checkpoint is of %d processes and this run has %d: samples go on where they stopped, "
                "but drop path and dropout draw anew",
                len(state["random"]),
                size,
            )
