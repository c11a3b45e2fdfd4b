"""What recipes of self-supervision do at each iteration that others do not: more schedules, another clipping."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


def cosine(start: float, end: float, *, done: float) -> float:
    """From `start` to `end` along half a cosine; `done` is the share of the run that is over."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * done))


def warm_up(start: float, end: float, *, iteration: int, iters: int) -> float:
    """From `start` to `end` in a line, which ends at iteration `iters`, counted from 0."""
    return start + (end - start) * min(iteration / iters, 1.0) if iters else end


def schedule_decay(optimizer: torch.optim.Optimizer, end: float, *, done: float) -> None:
    """Give every group the weight decay of this share of the run, on the way from the config's to `end`.

    A group that has a multiple of the config's, such as none for biases, has the same multiple on the way.
    """
    for group in optimizer.param_groups:
        of_config, own = group["base_decay"]
        group["weight_decay"] = cosine(of_config, end, done=done) * own / of_config


def clip_each(parameters: Sequence[nn.Parameter], *, max_norm: float) -> Tensor:
    """Shorten every gradient whose own norm is above `max_norm` to it, in place; gives the norm of all before.

    https://arxiv.org/abs/2104.14294 clips by tensor, unlike `torch.nn.utils.clip_grad_norm_`.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norms = torch._foreach_norm(gradients)
    factors = [(max_norm / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
    torch._foreach_mul_(gradients, factors)
    return torch.stack(norms).norm()
