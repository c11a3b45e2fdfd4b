"""Hooks of the kind that users of mmengine write: they end a run in the ways that runs end."""

import multiprocessing
import os
import resource

from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class PowerCut(Hook):
    """Ends the run without warning, before an iteration or before a validation."""

    def __init__(self, *, iteration=None, validation=False):
        self.iteration, self.validation = iteration, validation

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            raise SystemError("power cut")

    def before_val_epoch(self, runner):
        if self.validation:
            raise SystemError("power cut")


@HOOKS.register_module()
class Scheduler(Hook):
    """Sends a signal to every process of the run, as a cluster's scheduler or a terminal does."""

    def __init__(self, *, number, iteration=None, validation=False):
        self.number, self.iteration, self.validation = number, iteration, validation

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            self.send()

    def before_val_epoch(self, runner):
        if self.validation:
            self.send()

    def send(self):
        for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
            os.kill(process.pid, self.number)


@HOOKS.register_module()
class FullDisk(Hook):
    """From an iteration on, no file of the run may grow beyond `limit` bytes, which weights do and logs do not."""

    def __init__(self, *, iteration, limit=1_000_000):
        self.iteration, self.limit = iteration, limit

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@HOOKS.register_module()
class Compiled(Hook):
    """Notes which parts of the model were compiled."""

    found: list = []

    def before_run(self, runner):
        self.found[:] = [name for name, part in runner.model.named_modules() if part._compiled_call_impl is not None]


def cut_at(config, iteration):
    """The config of a run that ends without warning before an iteration."""
    return {**config, "custom_hooks": [dict(type="PowerCut", iteration=iteration)]}
