"""The training loop and the validation inside it, as mmengine's Runner runs them."""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.runner import BaseLoop, Runner
from torch import Tensor
from torch.utils.data import DataLoader

from densevit.processes import any_process

logger = logging.getLogger("densevit")


class DivergedError(ValueError):
    """The loss is no longer a number."""


class TrainLoop(BaseLoop):
    """Iterations of `accumulate` batches each, from `start` to `max_iters`; hooks see mmengine's usual stages.

    Unlike mmengine's own, it continues at the right sample without reading the earlier ones again: the loader it gets
    starts there.
    """

    def __init__(self, runner: Runner, dataloader: DataLoader, *, train_cfg: dict, schedule: dict, ignore_index: int):
        super().__init__(runner, dataloader)
        self.max_iters = train_cfg["max_iters"]
        self.val_interval = train_cfg["val_interval"]
        self.accumulate = train_cfg["accumulate"]
        self.schedule = schedule
        self.ignore_index = ignore_index
        self.iter = 0
        self.epoch, self.max_epochs = 0, 1  # mmengine's hooks ask for them
        self.num_ignored = 0
        self.stop_training = False
        self._unchecked: list[tuple[int, Tensor]] = []

    def run(self) -> torch.nn.Module:
        self.runner.call_hook("before_train")
        batches = iter(self.dataloader)
        if self.runner.validate_first:  # the run was interrupted between saving and validating
            self.runner.val_loop.run()
        while self.iter < self.max_iters and not self.stop_training:
            self.runner.model.train()
            self.run_iter(batches)
            if self._validation_is_due():
                self.runner.val_loop.run()
        self.runner.call_hook("after_train")
        return self.runner.model

    def run_iter(self, batches: Iterator[dict[str, Any]]) -> None:
        """One update of the weights."""
        self.runner.call_hook("before_train_iter", batch_idx=self.iter, data_batch=None)
        step = self.runner.optim_wrapper
        step.set_learning_rate(self.iter, max_iters=self.max_iters, schedule=self.schedule)
        sums: dict[str, Tensor] = {}
        for _ in range(self.accumulate):
            batch = next(batches)
            self._count_ignored(batch)
            for name, value in self.runner.model.train_step(batch, optim_wrapper=step).items():
                sums[name] = sums.get(name, 0) + value.detach() / self.accumulate
        self._unchecked.append((self.iter + 1, sums["loss"]))
        # On a GPU the newest loss is still being computed: looking at it would stall the queue, so look one behind.
        self.check_losses(keep=0 if sums["loss"].device.type == "cpu" else 1)
        self.runner.call_hook("after_train_iter", batch_idx=self.iter, data_batch=batch, outputs=sums)
        self.iter += 1

    def check_losses(self, *, keep: int = 0) -> None:
        """Raise DivergedError for a loss that is nan or infinite, in any process, before anything of it is saved."""
        bad = None
        while len(self._unchecked) > keep:
            iteration, loss = self._unchecked.pop(0)
            if bad is None and not torch.isfinite(loss):
                bad = (iteration, loss.item())
        if any_process(bad is not None)[0]:
            iteration, value = bad or (self.iter + 1, float("nan"))
            raise DivergedError(
                f"the loss became {value} at iteration {iteration}, and nothing of it was saved: lower optimizer.lr, "
                "set train_cfg.clip_grad, or use train_cfg.amp='bf16' in place of 'fp16'"
            )

    def _validation_is_due(self) -> bool:
        return (
            self.runner.val_loop is not None
            and not self.stop_training
            and (self.iter % self.val_interval == 0 or self.iter == self.max_iters)
        )

    def _count_ignored(self, batch: dict[str, Any]) -> None:
        """Such a batch teaches nothing: its loss is 0 and so are its gradients."""
        if bool((batch["label"] != self.ignore_index).any()):
            return
        self.num_ignored += 1
        if self.num_ignored <= 3:
            names = ", ".join(str(meta["label"]) for meta in batch["meta"])
            logger.warning("iteration %d: every pixel of the batch is ignored (%s)", self.iter + 1, names)


class ValidationLoop(BaseLoop):
    """Runs the function given as `dataloader` and tells the hooks; a Runner slot for `densevit.evaluate.evaluate`."""

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any):
        super().__init__(runner, dataloader)
        self.evaluator = evaluator

    def run(self) -> dict[str, Any]:
        self.runner.call_hook("before_val")
        evaluation = self.evaluator(self.runner)
        metrics = {} if evaluation is None else dict(evaluation=evaluation)
        self.runner.call_hook("after_val_epoch", metrics=metrics)
        self.runner.call_hook("after_val")
        return metrics
