"""Signs that a network which learns without labels tells the same of every image."""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST_RANK, LEAST_SPREAD = 1.5, 1e-3
UNIFORM = 0.99  # of the largest entropy that there can be
LEAST_OUTPUTS = 1.5  # that are used, as the exponential of the entropy of the mean


@torch.no_grad()
def observe(features: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Of features (N, D) and shares (..., K) of the teacher, scalars.

    teacher_entropy: mean entropy of the shares, in nats; mean_entropy: that of their mean over the batch.
    feature_rank: effective rank of the centred features (Roy and Vetterli 2007), from 1 to the smaller of N and D.
    feature_spread: deviation of features of unit length, 1 where they point everywhere alike and 0 where all are one.
    """
    features, shares = features.float(), targets.float().flatten(0, -2)
    centred = features - features.mean(0)
    values = torch.linalg.svdvals(centred)
    unit = F.normalize(features, dim=1)
    return dict(
        teacher_entropy=_entropy(shares).mean(),
        mean_entropy=_entropy(shares.mean(0)),
        feature_rank=_entropy(values / values.sum().clamp_min(1e-12)).exp(),
        feature_spread=(unit - unit.mean(0)).square().sum(1).mean().sqrt(),
    )


def _entropy(shares: Tensor) -> Tensor:
    return torch.special.entr(shares).sum(-1)


def said_of_collapse(observed: Mapping[str, Tensor], *, out_dim: int) -> str | None:
    """What has collapsed, in one sentence; None where nothing has."""
    found = {name: float(value) for name, value in observed.items()}
    most = math.log(out_dim)
    if found["teacher_entropy"] > UNIFORM * most:
        what, mend = "spreads its output evenly over all outputs", "lower teacher.temperature"
    elif math.exp(found["mean_entropy"]) < LEAST_OUTPUTS:
        what, mend = "gives every image the same one output", "raise teacher.temperature, or teacher.centre_momentum"
    elif found["feature_rank"] < LEAST_RANK or found["feature_spread"] < LEAST_SPREAD:
        what, mend = "has features that hardly differ between images", "lower optimizer.lr, or raise teacher.momentum"
    else:
        return None
    told = ", ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in found.items())
    return f"the teacher {what} ({told}; the largest entropy is {most:.3g}): training has collapsed; {mend}"
