"""Losses that are a mean over pixels: cross entropy, its hard examples only, and focal loss.

logits (B, K, *S) in any float type, computed in at least float32; label (B, *S) integers; result a scalar.
A batch in which every pixel is ignored gives 0 with a gradient of zeros: ask `num_valid` to notice it.
"""

import torch
from torch import Tensor

from densevit.losses.checks import prepare, prepare_weights, safe_mean


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over the pixels that are not ignored, each counting as much as its class's weight, as in torch."""
    logits, label = prepare(logits, label)
    weights = prepare_weights(class_weights, logits)
    valid = label != ignore_index
    log_p = logits.log_softmax(1)
    weight = _pixel_weights(label, weights, valid)
    total = (_pick(log_p, label, valid) * weight).sum() * (1 - label_smoothing)
    if label_smoothing > 0:
        spread = log_p if weights is None else log_p * weights.view(-1, *[1] * (label.ndim - 1))
        total = total + spread.mean(1).masked_fill(~valid, 0).sum() * label_smoothing
    return safe_mean(-total, weight.sum())


def ohem_cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    thresh: float = 0.7,
    min_kept: int = 100_000,
) -> Tensor:
    """Cross entropy of the hard pixels only (online hard example mining, https://arxiv.org/abs/1604.03540).

    Hard is a pixel whose true class has a probability below `thresh`, or one of the `min_kept` x B least probable of
    the batch: the pixels that mmsegmentation's OHEMPixelSampler keeps. The mean is over the kept pixels.
    """
    if min_kept < 1:
        raise ValueError(f"min_kept must be at least 1 pixel per image, got {min_kept}")
    logits, label = prepare(logits, label)
    weights = prepare_weights(class_weights, logits)
    valid = label != ignore_index
    loss = -_pick(logits.log_softmax(1), label, valid)
    with torch.no_grad():
        probability = torch.exp(-loss)
        # Ignored pixels sort among the easiest, so that no pixel's rank among the valid ones changes.
        ranked = probability.where(valid, probability.where(valid, -1).max()).flatten().sort().values
        least = ranked[min(min_kept * len(logits), ranked.numel() - 1)]
        kept = valid & (probability < least.clamp_min(thresh))
    weight = _pixel_weights(label, weights, valid) * kept
    return safe_mean((loss * weight).sum(), weight.sum())


def focal_loss(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    gamma: float = 2.0,
) -> Tensor:
    """-(1 - p)^gamma log p, p the softmax probability of the true class (https://arxiv.org/abs/1708.02002).

    The mean is taken as in `cross_entropy`, to which it is equal at gamma = 0; the paper's alpha is `class_weights`.
    """
    logits, label = prepare(logits, label)
    weights = prepare_weights(class_weights, logits)
    valid = label != ignore_index
    loss = -_pick(logits.log_softmax(1), label, valid)
    # 1 - p, by expm1 because float32 cannot tell p from 1 near 1; the floor keeps the gradient finite for gamma < 1.
    doubt = -torch.expm1(-loss)
    weight = _pixel_weights(label, weights, valid)
    total = (doubt.clamp_min(torch.finfo(loss.dtype).tiny) ** gamma * loss * weight).sum()
    return safe_mean(total, weight.sum())


def _pick(log_p: Tensor, label: Tensor, valid: Tensor) -> Tensor:
    """(B, *S): the true class's log-probability, 0 where it is ignored.

    By gather, since torch's own loss has no deterministic CUDA kernel.
    """
    return log_p.gather(1, (label * valid)[:, None]).squeeze(1).masked_fill(~valid, 0)


def _pixel_weights(label: Tensor, class_weights: Tensor | None, valid: Tensor) -> Tensor:
    """(B, *S): the weight of each pixel's class, 0 where it is ignored."""
    return valid if class_weights is None else class_weights[label * valid] * valid
