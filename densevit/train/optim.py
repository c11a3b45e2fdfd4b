"""Optimizer and learning rate as a config asks for them, and the step from a loss to new weights."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature

import torch
from torch import Tensor, nn

from densevit.options import check_range
from densevit.registry import check_known

OPTIMIZERS = {name: getattr(torch.optim, name) for name in ("AdamW", "Adam", "SGD", "RMSprop", "Adafactor")}
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


# From (progress from 0 to 1, power) to a factor that begins with 1.
SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "poly": lambda progress, power: (1 - progress) ** power,
    "cosine": lambda progress, power: (0.5 * (1 + math.cos(math.pi * progress))) ** power,
    "constant": lambda progress, power: 1.0,
    "exponential": lambda progress, power: power**progress,
}
RSQRT = "rsqrt"  # which falls with the number of iterations, whatever their total (https://arxiv.org/abs/2106.04560)


@dataclass(frozen=True, kw_only=True)
class OptimizerOptions:
    """The section `optimizer` of a config; an option that is None is left to the optimizer.

    `no_decay` words are looked for in the parameter's name, and "norm" also finds every norm layer by its type;
    `lr_multipliers` and `decay_multipliers` keys are the dotted beginnings of names. `layer_decay` is the factor from
    each block of the backbone to the one before it.
    """

    type: str = "AdamW"
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] | None = None
    eps: float | tuple[float | None, float] | None = None
    momentum: float | None = None
    nesterov: bool | None = None
    alpha: float | None = None
    beta2_decay: float | None = None
    d: float | None = None
    no_decay: tuple[str, ...] = ()
    lr_multipliers: dict[str, float] = field(default_factory=dict)
    decay_multipliers: dict[str, float] = field(default_factory=dict)
    layer_decay: float | None = None

    def __post_init__(self) -> None:
        check_known(self.type, OPTIMIZERS, what="unknown type")
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay}")
        if self.eps is not None and isinstance(self.eps, tuple) != (self.type == "Adafactor"):
            raise ValueError(f"eps must be one number, but two for Adafactor, got {self.eps!r} for {self.type}")
        for key in self.given:
            if key not in signature(OPTIMIZERS[self.type]).parameters:
                raise ValueError(f"optimizer {self.type} has no option {key!r}; take optimizer.{key} out")

    @property
    def given(self) -> dict[str, object]:
        """The options of the optimizer itself that are not None."""
        own = ("betas", "eps", "momentum", "nesterov", "alpha", "beta2_decay", "d")
        return {key: getattr(self, key) for key in own if getattr(self, key) is not None}


@dataclass(frozen=True, kw_only=True)
class ScheduleOptions:
    """Learning rate over iterations: linear warm-up from `warmup_ratio` of it, then `type` down to `min_lr`.

    "rsqrt" falls as the inverse square root of the iterations since the warm-up, in units of `timescale`.
    `cooldown_iters`: the last ones, over which what `type` gives is drawn down to 0 in a line. `end_weight_decay`: what
    the weight decay becomes by the end, along half a cosine; None where it stays.
    """

    type: str = "poly"
    power: float = 1.0
    min_lr: float = 0.0
    warmup_iters: int = 0
    warmup_ratio: float = 1e-6
    timescale: int = 10_000
    cooldown_iters: int = 0
    end_weight_decay: float | None = None

    def __post_init__(self) -> None:
        check_known(self.type, [*SCHEDULES, RSQRT], what="unknown type")
        check_range(self, ["warmup_iters", "cooldown_iters", "end_weight_decay"], least=0)
        check_range(self, ["timescale"], least=1)


def learning_rate(base: float, iteration: int, *, max_iters: int, schedule: ScheduleOptions) -> float:
    """The rate for `iteration` (from 0): what mmengine's LinearLR followed by PolyLR gives, in closed form.

    Like theirs, the warm-up reaches `base` on its last iteration and the decay ends on the last of all, as a cool-down
    does, whose last rate is above 0.
    """
    warmup, cooldown = schedule.warmup_iters, schedule.cooldown_iters
    cooled = min(1.0, (max_iters - iteration) / cooldown) if cooldown else 1.0
    if iteration < warmup:
        return cooled * base * (schedule.warmup_ratio + (1 - schedule.warmup_ratio) * iteration / max(warmup - 1, 1))
    if schedule.type == RSQRT:
        factor = (1 + (iteration - warmup) / schedule.timescale) ** -0.5
    else:
        factor = SCHEDULES[schedule.type](min((iteration - warmup) / max(max_iters - warmup - 1, 1), 1), schedule.power)
    return cooled * (schedule.min_lr + (base - schedule.min_lr) * factor)


def create_optimizer(model: nn.Module, options: OptimizerOptions) -> torch.optim.Optimizer:
    """The optimizer over the trainable parameters, in groups that share rate and weight decay.

    Each group holds its own `base_lr`. ValueError for a multiplier of a part that the model has not.
    """
    known = [name for name, _ in (*model.named_modules(), *model.named_parameters()) if name]
    for name in ("lr_multipliers", "decay_multipliers"):
        for key in getattr(options, name):
            check_known(key, known, what=f"optimizer.{name}: the model has no module named")
    modules = [(name, module) for name, module in model.named_modules() if isinstance(module, NORMS)]
    norms = {f"{name}.{parameter}" for name, module in modules for parameter, _ in module.named_parameters()}
    factors: Mapping[nn.Parameter, float] = {}
    if options.layer_decay is not None:
        from densevit.train.layer_decay import layer_factors

        factors = layer_factors(model, options.layer_decay)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            exempt = any(word in name or (word == "norm" and name in norms) for word in options.no_decay)
            decay = 0.0 if exempt else options.weight_decay * _multiplier(name, options.decay_multipliers)
            factor = _multiplier(name, options.lr_multipliers) * factors.get(parameter, 1.0)
            groups.setdefault((factor, decay), []).append(parameter)
    if not groups:
        raise ValueError("the model has no parameter to train; lower model.backbone_options.frozen")
    rates = [(options.lr * multiplier, decay, parameters) for (multiplier, decay), parameters in groups.items()]
    return OPTIMIZERS[options.type](
        [
            dict(params=parameters, lr=lr, base_lr=lr, weight_decay=decay, base_decay=(options.weight_decay, decay))
            for lr, decay, parameters in rates
        ],
        lr=options.lr,
        **options.given,
    )


def _multiplier(name: str, multipliers: Mapping[str, float]) -> float:
    """The one of the longest key that begins the name, else 1."""
    found = [key for key in multipliers if name == key or name.startswith(f"{key}.")]
    return multipliers[max(found, key=len)] if found else 1.0


_OTHER_GROUPS = (
    "optimizer: the checkpoint's parameters are grouped in another way; set optimizer.no_decay, lr_multipliers, "
    "decay_multipliers, layer_decay and model.backbone_options.frozen as they were, or choose another --work-dir"
)


class OptimizerStep:
    """From the losses of `accumulate` batches to one update of the weights, in mixed precision where `amp` names one.

    bf16 and fp16 work on every device. `clip_grad` bounds the norm of all gradients, or with `clip_each` that of each
    parameter's by itself. `grad_norm` is the norm of all before they were clipped.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        device: torch.device,
        amp: str | None = None,
        accumulate: int = 1,
        clip_grad: float | None = None,
        clip_each: bool = False,
    ):
        self.optimizer, self.device_type, self.dtype = optimizer, device.type, PRECISIONS.get(amp)
        self.accumulate, self.clip_grad, self.clip_each = accumulate, clip_grad, clip_each
        # bf16 has the exponents of fp32: only fp16 needs its loss scaled.
        self.scaler = torch.amp.GradScaler(device.type, enabled=amp == "fp16")
        self.grad_norm: Tensor | None = None

    def autocast(self) -> torch.autocast:
        """The context in which the forward runs."""
        return torch.autocast(self.device_type, self.dtype, enabled=self.dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of one batch."""
        self.scaler.scale(loss / self.accumulate).backward()

    def update(self) -> None:
        """Change the weights by the gradients that were added up, and forget these."""
        if self.clip_grad is not None:
            self.scaler.unscale_(self.optimizer)
            parameters = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
            clip = nn.utils.clip_grad_norm_
            if self.clip_each:
                from densevit.train.schedules import clip_each as clip
            # The norm stays a tensor: reading it would stall a GPU on every iteration.
            self.grad_norm = clip(parameters, max_norm=self.clip_grad)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()

    def set_learning_rate(self, iteration: int, *, max_iters: int, schedule: ScheduleOptions) -> None:
        """Give every group its rate for this iteration, and its weight decay where that changes too."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(group["base_lr"], iteration, max_iters=max_iters, schedule=schedule)
        if schedule.end_weight_decay is not None:
            from densevit.train.schedules import schedule_decay

            schedule_decay(self.optimizer, schedule.end_weight_decay, done=iteration / max_iters)

    def state(self) -> dict:
        """What a checkpoint keeps."""
        return dict(optimizer=self.optimizer.state_dict(), scaler=self.scaler.state_dict())

    def load(self, state: Mapping) -> None:
        """Moments from a checkpoint; rates and decays stay the config's, which may have been changed on purpose."""
        asked = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        try:
            self.optimizer.load_state_dict(state["optimizer"])
        except ValueError as error:  # of torch, which compares how many groups and parameters there are
            raise ValueError(_OTHER_GROUPS) from error
        moments = [(p, value) for p, kept in self.optimizer.state.items() for value in kept.values()]
        if any(isinstance(value, Tensor) and value.ndim and not _fits(value, p) for p, value in moments):
            raise ValueError(_OTHER_GROUPS)
        for group, values in zip(self.optimizer.param_groups, asked, strict=True):
            group.update(values)
        if state["scaler"] and self.scaler.is_enabled():  # amp may have been changed in between
            self.scaler.load_state_dict(state["scaler"])


def _fits(moment: Tensor, parameter: Tensor) -> bool:
    """Whether it is of the parameter's size, or its sum over one of the last two axes (Adafactor)."""
    size = parameter.shape
    sums = [(*size[:-1], 1), (*size[:-2], 1, *size[-1:])] if len(size) > 1 else []
    return moment.shape == size or tuple(moment.shape) in sums
