"""Hooks of mmengine's registry in our loop: they are handed a run under the names of mmengine's Runner.

docs/decisions/mmengine_runner.md says why it is not the Runner itself.
"""

import logging
import time
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

from mmengine.config import Config
from mmengine.hooks import Hook, IterTimerHook, RuntimeInfoHook
from mmengine.logging import MessageHub
from mmengine.optim import OptimWrapper
from mmengine.registry import HOOKS, VISUALIZERS
from mmengine.runner import LogProcessor
from mmengine.runner.priority import get_priority
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils.data import DataLoader

from densevit.data import Sample
from densevit.processes import rank_and_size
from densevit.train.loop import Loop
from densevit.train.record import find_registered
from densevit.train.schema import RunConfig

OURS = {"CheckpointHook": "train_cfg.checkpoint_interval, train_cfg.max_keep and train_cfg.best"}


class HookRunner:
    """What a hook of mmengine finds in its argument `runner`; `iter`, `model`, `message_hub` and the like.

    RuntimeInfoHook and IterTimerHook are always there, because others read what they put into `message_hub`. The runner
    is its own `train_loop`, and `train_loop.stop_training = True` ends the run, as with mmengine's loops.
    """

    def __init__(self, loop: Loop, *, config: RunConfig):
        self._loop, task = loop, loop.task
        self.timestamp = time.strftime("%Y%m%d_%H%M%S")
        self.experiment_name = f"{config.name}_{uuid4().hex[:8]}"  # mmengine keeps hubs and visualizers by this name
        self.work_dir = self.log_dir = self._log_dir = str(loop.recorder.folder)
        self.cfg = Config(config.to_dict(), format_python_code=False)
        self.seed, self.deterministic = config.seed, config.train_cfg.deterministic
        self.rank, self.world_size = rank_and_size()
        self.distributed = self.world_size > 1
        self.epoch, self.max_epochs = 0, 1
        self.param_schedulers: list[Any] = []
        self.logger = logging.getLogger("densevit")
        self.log_processor = LogProcessor(by_epoch=False)
        self.message_hub = MessageHub.get_instance(self.experiment_name)
        self.optim_wrapper = OptimWrapper(loop.step.optimizer)
        self.train_dataloader, self.test_dataloader = _Batches(loop), None
        self.val_dataloader = None if task.samples is None else DataLoader(task.samples, batch_size=None)
        self.train_loop, self.dataloader = self, self.train_dataloader
        self.val_loop = SimpleNamespace(dataloader=self.val_dataloader)
        self._train_loop, self._val_loop = self.train_loop, self.val_loop
        section = dict(config.visualization.visualizer)
        kind = find_registered(VISUALIZERS, section, where="visualization.visualizer")
        options = dict(section, vis_backends=list(loop.recorder.boards), save_dir=self.work_dir)
        del options["type"]
        self.visualizer = kind.get_instance(self.experiment_name, **options)  # hooks ask for the current one
        self.visualizer.dataset_meta = dict(classes=task.header.classes, palette=task.header.palette)
        self.hooks: list[Hook] = []
        for section in (dict(type=RuntimeInfoHook), dict(type=IterTimerHook), *config.custom_hooks):
            self.register_hook(section)
        self._num_seen = 0

    @property
    def iter(self) -> int:
        """Finished iterations."""
        return self._loop.iteration

    @property
    def max_iters(self) -> int:
        return self._loop.options.max_iters

    @property
    def stop_training(self) -> bool:
        """Whether the run ends after this iteration."""
        return self._loop.stopping

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._loop.stopping = value

    @property
    def model(self) -> nn.Module:
        """What is trained, inside of DDP where there are several processes."""
        return self._loop.task.network

    @property
    def _resume(self) -> bool:
        return self._loop.resumed is not None

    def register_hook(self, hook: Hook | dict[str, Any], priority: str | int | None = None) -> None:
        """Add a hook behind those of the same priority."""
        if isinstance(hook, dict):
            section = dict(hook)
            priority = section.pop("priority", priority)
            hook = _build(section)
        hook.priority = hook.priority if priority is None else priority
        self.hooks = sorted([*self.hooks, hook], key=lambda each: get_priority(each.priority))

    def call_hook(self, stage: str, **given: Any) -> None:
        """Call one stage of every hook, such as "after_train_iter"."""
        if stage == "before_val_epoch":
            self._num_seen = 0
        for hook in self.hooks:
            if hasattr(hook, stage):
                getattr(hook, stage)(self, **given)

    def on_sample(self, sample: Sample, found: dict[str, Tensor]) -> None:
        """Both stages of a validated sample; what was `found` is in the data element that hooks get as output."""
        meta = dict(img_path=str(sample.meta["image"]))
        fields = {name: BaseDataElement(data=values[None]) for name, values in found.items()}
        self.call_hook("before_val_iter", batch_idx=self._num_seen, data_batch=vars(sample))
        outputs = [BaseDataElement(metainfo=meta, **fields)]
        self.call_hook("after_val_iter", batch_idx=self._num_seen, data_batch=vars(sample), outputs=outputs)
        self._num_seen += 1

    def before_save(self, iteration: int) -> tuple[dict[str, Tensor] | None, dict[str, Any] | None]:
        """What hooks make of the model's state, and what they want kept; None where they change and add nothing."""
        module = self._loop.task.model
        checkpoint = dict(meta=dict(iter=iteration, epoch=self.epoch), state_dict=dict(module.state_dict()))
        before, meta = dict(checkpoint["state_dict"]), checkpoint["meta"]
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        trained = checkpoint["state_dict"]
        changed = any(trained.get(name) is not value for name, value in before.items())
        extra = {key: value for key, value in checkpoint.items() if value is not meta and key != "state_dict"}
        if not changed and not extra:
            return None, None
        return (trained if changed else None), {**extra, "state_dict": trained}

    def after_load(self, kept: dict[str, Any] | None) -> None:
        """Hand back what `before_save` gave, and load the state that the hooks then leave."""
        module = self._loop.task.model
        checkpoint = dict(state_dict=dict(module.state_dict())) if kept is None else dict(kept)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        module.load_state_dict(checkpoint["state_dict"])


class _Batches:
    """The loader of an endless run, which to mmengine is one epoch of `max_iters` batches."""

    def __init__(self, loop: Loop):
        self._loop = loop

    def __len__(self) -> int:
        return self._loop.options.max_iters

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop.batches, name)


def _build(section: dict[str, Any]) -> Hook:
    name = section.get("type")
    if name in OURS:
        raise ValueError(
            f"custom_hooks: {name} is not needed, checkpoints are written as {OURS[name]} say; take it out"
        )
    kind = find_registered(HOOKS, section, where="custom_hooks")
    try:
        return HOOKS.build(section)
    except (TypeError, ImportError) as error:
        raise ValueError(f"custom_hooks: {kind.__name__} cannot be made ({error})") from None
