"""Hooks of the kind that users of mmengine write: they end a run in the ways that runs end."""

import multiprocessing
import os

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

    def __init__(self, *, iteration, number):
        self.iteration, self.number = iteration, number

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.iteration:
            for process in (*multiprocessing.active_children(), multiprocessing.current_process()):
                os.kill(process.pid, self.number)


def cut_at(config, iteration):
    """The config of a run that ends without warning before an iteration."""
    return {**config, "custom_hooks": [dict(type="PowerCut", iteration=iteration)]}
