"""mmengine's Runner with what is broken or too loud on today's torch replaced (docs/decisions/mmengine_edge.md)."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import MMDistributedDataParallel
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from densevit.checkpoint import Header
from densevit.checkpoint.snapshots import CheckpointError, Snapshot, save_snapshot
from densevit.processes import any_process, gather, rank_and_size
from densevit.train.loops import TrainLoop, ValidationLoop
from densevit.train.model import TrainingModel, WeightAverage
from densevit.train.optim import OptimizerStep, create_optimizer
from densevit.train.resume import Resumption
from densevit.train.state import get_random_state, set_random_state, set_seed

logger = logging.getLogger("densevit")

DEFAULT_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint")


class TrainRunner(Runner):
    """Trains `model` with a checked config; `validate(runner)` scores it, `header` goes into every weights file."""

    def __init__(
        self,
        model: TrainingModel,
        *,
        config: dict[str, Any],
        header: Header,
        work_dir: Path,
        device: torch.device,
        loader: DataLoader,
        validate: Callable[["TrainRunner"], Any] | None,
        hooks: Sequence[Hook],
    ):
        self.config, self.header, self.device, self.folder = config, header, device, work_dir
        self.average: WeightAverage | None = None
        self.resumption: Resumption | None = None
        self.validate_first = False
        settings = config["train_cfg"]
        options = {key: settings[key] for key in ("amp", "accumulate", "clip_grad")}
        step = OptimizerStep(create_optimizer(model.named_parts(), config["optimizer"]), device=device, **options)
        loop = dict(type=TrainLoop, train_cfg=settings, schedule=config["schedule"], ignore_index=header.ignore_index)
        validation = {}
        if validate is not None:
            validation = dict(val_dataloader=validate, val_cfg=dict(type=ValidationLoop), val_evaluator=validate)
        super().__init__(
            model,
            str(work_dir),
            train_dataloader=loader,
            train_cfg=loop,
            optim_wrapper=step,
            default_hooks=dict.fromkeys(DEFAULT_HOOKS),
            custom_hooks=list(hooks),
            default_scope=None,
            experiment_name=str(work_dir),
            randomness=dict(seed=config["seed"], deterministic=settings["deterministic"]),
            **validation,
        )

    @property
    def timestamp(self) -> str:
        """Names mmengine's log folder: none, the run folder itself serves."""
        return "."

    @property
    def training_model(self) -> TrainingModel:
        """The model without its DDP wrapper."""
        return self.model.module if isinstance(self.model, DistributedDataParallel) else self.model

    @property
    def final_model(self) -> nn.Module:
        """The segmentor to validate and to predict with: the averaged one if there is one."""
        return self.average.model if self.average else self.training_model.segmentor

    def setup_env(self, env_cfg: dict) -> None:
        """The process group is joined before, and the number of threads and files is the user's affair."""
        self._rank, self._world_size = rank_and_size()
        self._distributed = self._world_size > 1
        self._timestamp = ""

    def set_randomness(self, seed: int, deterministic: bool = False) -> None:
        """Processes draw different noise (drop path, dropout); their samples come from the draw number alone."""
        self._seed, self._deterministic = seed, deterministic
        set_seed(seed + self._rank, deterministic=deterministic)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None) -> logging.Logger:
        """One that keeps mmengine's own messages below INFO."""
        quiet = logging.getLogger("densevit.mmengine")
        quiet.setLevel(logging.WARNING)
        return quiet

    def _log_env(self, env_cfg: dict) -> None:
        """Runs compilers and git to describe the machine; `densevit.train.run` says what matters."""

    def build_visualizer(self, visualizer: Any = None) -> None:
        """None: pictures are written by our own hook."""

    def dump_config(self) -> None:
        """Done before, by `densevit.train.config.config.dump_config`."""

    def _init_model_weights(self) -> None:
        """The constructors did it."""

    def wrap_model(self, model_wrapper_cfg: dict | None, model: TrainingModel) -> nn.Module:
        """To the device; in a group of processes under DDP, with SyncBN where it can work, which is on GPUs."""
        model = model.to(self.device)
        if self.config["train_cfg"]["compile"]:
            model.compile_network()
        if not self._distributed:
            return model
        on_gpu = self.device.type == "cuda"
        if on_gpu and self.config["train_cfg"]["sync_bn"]:
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return MMDistributedDataParallel(module=model, device_ids=[self.device.index] if on_gpu else None)

    def load_or_resume(self) -> None:
        """Put back everything a checkpoint holds; mmengine's own reads pickles that torch refuses since 2.6."""
        if self.resumption is None:
            return
        weights, state = self.resumption.weights, self.resumption.state
        if self.average is not None and state["raw_weights"] is not None:
            self.average.load(weights, state["average_updates"])
        raw = weights if state["raw_weights"] is None else state["raw_weights"]
        self.training_model.segmentor.load_state_dict(raw)
        if self.average is not None and state["raw_weights"] is None:
            self.average.load(weights, 0)
        self._load_supervision(state.get("supervision"))
        self._load_optimizer(state["optimizer"])
        if state["scaler"] and self.optim_wrapper.scaler.is_enabled():  # --amp may have been changed in between
            self.optim_wrapper.scaler.load_state_dict(state["scaler"])
        self.train_loop.iter = state["iteration"]
        self.train_loop.num_ignored = state["num_ignored"][self._rank] if self._same_group() else 0
        if self._same_group():
            set_random_state(state["random"][self._rank])
        else:
            logger.warning(
                "the checkpoint is of %d processes and this run has %d: samples go on where they stopped, "
                "but drop path and dropout draw anew",
                len(state["random"]),
                self._world_size,
            )

    def _same_group(self) -> bool:
        return len(self.resumption.state["random"]) == self._world_size

    def _load_supervision(self, state: dict[str, Tensor] | None) -> None:
        heads = self.training_model.supervision
        mine = {} if heads is None else heads.state_dict()
        if mine.keys() != (state or {}).keys():
            raise ValueError(
                f"{self.resumption.snapshot.folder} was trained with other auxiliary heads or deep supervision; "
                "choose another --work-dir, or set auxiliary and deep_supervision as they were"
            )
        if heads is not None:
            heads.load_state_dict(state)

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        """Moments from the checkpoint; rates and decays from the config, which may have been changed on purpose."""
        optimizer = self.optim_wrapper.optimizer
        asked = [{k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
        optimizer.load_state_dict(state)
        for group, values in zip(optimizer.param_groups, asked, strict=True):
            group.update(values)

    def save(self) -> Snapshot | None:
        """Write a checkpoint of the iteration just done; every process must call this. CheckpointError on failure."""
        self.train_loop.check_losses()
        states = gather(dict(random=get_random_state(), num_ignored=self.train_loop.num_ignored))
        saved, failure = None, None
        if self._rank == 0:
            try:
                saved = self._save(states)
            except CheckpointError as error:
                failure = error
        if any_process(failure is not None)[0]:
            raise failure or CheckpointError("the first process could not save the checkpoint")
        return saved

    def _save(self, states: list[dict[str, Any]]) -> Snapshot:
        iteration = self.iter + 1
        per_iteration = self.config["train_data"]["batch_size"] * self.config["train_cfg"]["accumulate"]
        first = self.resumption.state if self.resumption else dict(iteration=0, draws=0)
        averaged = self.average is not None
        state = dict(
            iteration=iteration,
            draws=first["draws"] + (iteration - first["iteration"]) * per_iteration * self._world_size,
            optimizer=self.optim_wrapper.optimizer.state_dict(),
            scaler=self.optim_wrapper.scaler.state_dict(),
            supervision=None if self.training_model.supervision is None else self._supervision_state(),
            random=[process["random"] for process in states],
            num_ignored=[process["num_ignored"] for process in states],
            raw_weights=dict(self.training_model.segmentor.state_dict()) if averaged else None,
            average_updates=self.average.updates if averaged else 0,
        )
        return save_snapshot(
            self.folder,
            iteration,
            weights=self.final_weights(),
            header=replace(self.header, training=dict(iteration=iteration)),
            state=state,
            max_keep=self.config["train_cfg"]["max_keep"],
        )

    def _supervision_state(self) -> dict[str, Tensor]:
        return dict(self.training_model.supervision.state_dict())

    def final_weights(self) -> dict[str, Tensor]:
        """The state of `final_model`."""
        return dict(self.final_model.state_dict())
