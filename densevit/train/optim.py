"""Parameter groups, learning-rate schedules, and mmengine's optimizer step with AMP that works on every device."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from densevit.registry import check_known

OPTIMIZERS = {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam, "SGD": torch.optim.SGD}
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


def poly(progress: float, power: float) -> float:
    """(1 - progress) ** power."""
    return (1 - progress) ** power


def cosine(progress: float, power: float) -> float:
    """Half a cosine from 1 to 0; `power` bends it."""
    return (0.5 * (1 + math.cos(math.pi * progress))) ** power


def constant(progress: float, power: float) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES = {"poly": poly, "cosine": cosine, "constant": constant}


def learning_rate(base: float, iteration: int, *, max_iters: int, schedule: Mapping[str, Any]) -> float:
    """The rate for `iteration` (from 0): what mmengine's LinearLR followed by PolyLR gives, in closed form.

    Like theirs, the warm-up reaches `base` on its last iteration and the decay ends on the last of all.
    """
    warmup = schedule["warmup_iters"]
    if iteration < warmup:
        return base * (schedule["warmup_ratio"] + (1 - schedule["warmup_ratio"]) * iteration / max(warmup - 1, 1))
    progress = min((iteration - warmup) / max(max_iters - warmup - 1, 1), 1.0)
    factor = SCHEDULES[schedule["type"]](progress, schedule["power"])
    return schedule["min_lr"] + (base - schedule["min_lr"]) * factor


def create_optimizer(model: nn.Module, section: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of a config over the trainable parameters, in groups that share rate and weight decay.

    `no_decay` words are looked for in the parameter's name, and "norm" also finds every norm layer by its type;
    `lr_multipliers` keys are the dotted beginnings of names. Each group holds its own `base_lr`.
    """
    _check_multipliers(model, section["lr_multipliers"])
    modules = [(name, module) for name, module in model.named_modules() if isinstance(module, NORMS)]
    norms = {f"{name}.{parameter}" for name, module in modules for parameter, _ in module.named_parameters()}
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            exempt = any(word in name or (word == "norm" and name in norms) for word in section["no_decay"])
            decay = 0.0 if exempt else section["weight_decay"]
            groups.setdefault((_multiplier(name, section["lr_multipliers"]), decay), []).append(parameter)
    if not groups:
        raise ValueError("the model has no parameter to train; lower model.backbone_options.frozen")
    options = {k: section[k] for k in ("betas", "eps", "momentum", "nesterov") if section[k] is not None}
    lr = section["lr"]
    return OPTIMIZERS[section["type"]](
        [
            dict(params=parameters, lr=lr * multiplier, base_lr=lr * multiplier, weight_decay=decay)
            for (multiplier, decay), parameters in groups.items()
        ],
        lr=lr,
        **options,
    )


def _multiplier(name: str, multipliers: Mapping[str, float]) -> float:
    """The one of the longest key that begins the name, else 1."""
    found = [key for key in multipliers if name == key or name.startswith(f"{key}.")]
    return multipliers[max(found, key=len)] if found else 1.0


def _check_multipliers(model: nn.Module, multipliers: Mapping[str, float]) -> None:
    known = [name for name, _ in (*model.named_modules(), *model.named_parameters()) if name]
    for key in multipliers:
        check_known(key, known, what="optimizer.lr_multipliers: the model has no module named")


class OptimizerStep(OptimWrapper):
    """mmengine's wrapper with bf16/fp16 autocast on CPU and GPU; its own AMP wrapper refuses to run on CPU."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        amp: str | None = None,
        accumulate: int = 1,
        clip_grad: float | None = None,
    ):
        clip = None if clip_grad is None else dict(max_norm=clip_grad)
        super().__init__(optimizer, accumulative_counts=accumulate, clip_grad=clip)
        self.device_type = device.type
        self.dtype = {None: None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
        # bf16 has the exponents of fp32: only fp16 needs its loss scaled.
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")
        self.grad_norm: Tensor | None = None

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None):
            yield

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Batches so far and in all; the runner counts iterations of `accumulate` batches."""
        self._inner_count = init_counts * self._accumulative_counts
        self._max_counts = max_counts * self._accumulative_counts
        self._remainder_counts = 0

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()
        self._inner_count += 1

    def step(self) -> None:
        if self.clip_grad_kwargs:
            self.scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def _clip_grad(self) -> None:
        """Clip without reading the norm back, which would stall a GPU on every iteration."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
        self.grad_norm = nn.utils.clip_grad_norm_(parameters, **self.clip_grad_kwargs)

    def set_learning_rate(self, iteration: int, *, max_iters: int, schedule: Mapping[str, Any]) -> None:
        """Give every group its rate for this iteration."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(group["base_lr"], iteration, max_iters=max_iters, schedule=schedule)
