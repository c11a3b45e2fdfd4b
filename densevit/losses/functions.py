"""Losses as functions: means over pixels (cross entropy, its hard examples, focal) and over classes (Dice, Lovász).

logits (B, K, *S) in any float type, computed in at least float32; label (B, *S) integers; result a scalar.
A batch in which every pixel is ignored gives 0 with a gradient of zeros: ask `num_valid` to notice it.
"""

import torch
from torch import Tensor


def num_valid(label: Tensor, *, ignore_index: int = 255) -> Tensor:
    """How many pixels are not ignored: an int64 scalar on the label's device, so that asking does not wait for it."""
    return torch.count_nonzero(label != ignore_index)


def cross_entropy(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    class_weights: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Mean over the pixels that are not ignored, each counting as much as its class's weight, as in torch."""
    log_p, loss, weight, valid = _per_pixel(logits, label, ignore_index, class_weights)
    total = (loss * weight).sum() * (1 - label_smoothing)
    if label_smoothing > 0:
        spread = log_p if class_weights is None else log_p * class_weights.to(log_p).view(-1, *[1] * (label.ndim - 1))
        total = total - spread.mean(1).masked_fill(~valid, 0).sum() * label_smoothing
    return _safe_mean(total, weight.sum())


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
    _, loss, weight, valid = _per_pixel(logits, label, ignore_index, class_weights)
    with torch.no_grad():
        probability = torch.exp(-loss)
        # Ignored pixels sort among the easiest, so that no pixel's rank among the valid ones changes.
        ranked = probability.where(valid, probability.where(valid, -1).max()).flatten().sort().values
        least = ranked[min(min_kept * len(logits), ranked.numel() - 1)]
        weight = weight * (probability < least.clamp_min(thresh))
    return _safe_mean((loss * weight).sum(), weight.sum())


def focal_loss(
    logits: Tensor, label: Tensor, *, ignore_index: int = 255, class_weights: Tensor | None = None, gamma: float = 2.0
) -> Tensor:
    """-(1 - p)^gamma log p, p the softmax probability of the true class (https://arxiv.org/abs/1708.02002).

    The mean is taken as in `cross_entropy`, to which it is equal at gamma = 0; the paper's alpha is `class_weights`.
    """
    _, loss, weight, _ = _per_pixel(logits, label, ignore_index, class_weights)
    # 1 - p, by expm1 because float32 cannot tell p from 1 near 1; the floor keeps the gradient finite for gamma < 1.
    doubt = -torch.expm1(-loss)
    total = (doubt.clamp_min(torch.finfo(loss.dtype).tiny) ** gamma * loss * weight).sum()
    return _safe_mean(total, weight.sum())


def dice_loss(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    smooth: float = 1e-5,
    per_image: bool = True,
    include_background: bool = True,
) -> Tensor:
    """1 - (2 |P Y| + smooth) / (|P| + |Y| + smooth), mean over classes and images.

    V-Net's soft Dice (https://arxiv.org/abs/1606.04797) with plain sums where it has sums of squares.
    With `per_image=False` the sums run over the whole batch. Class 0 is left out by `include_background=False`.
    Images without a valid pixel do not count in the mean.
    """
    probability, truth, valid = _per_class(logits, label, ignore_index)
    axes = (2,) if per_image else (0, 2)
    overlap = (probability * truth).sum(axes)  # (B, K) or (K,)
    size = (probability * valid).sum(axes) + truth.sum(axes)
    loss = 1 - (2 * overlap + smooth) / (size + smooth)
    loss = loss[..., 0 if include_background else 1 :].mean(-1)
    seen = valid.any(-1).flatten() if per_image else valid.any()
    return _safe_mean((loss * seen).sum(), seen.sum())


def lovasz_softmax(
    logits: Tensor, label: Tensor, *, ignore_index: int = 255, per_image: bool = False, only_present: bool = True
) -> Tensor:
    """The Lovász extension of 1 - IoU, of each class against the rest, mean over classes (https://arxiv.org/abs/1705.08790).

    `only_present` averages the classes that the labels hold; `per_image` takes the loss of each image by itself and
    averages those that have a valid pixel.
    """
    probability, truth, valid = _per_class(logits, label, ignore_index)
    if not per_image:  # one long image
        probability, truth, valid = (x.transpose(0, 1).flatten(1)[None] for x in (probability, truth, valid))
    error = (truth.to(probability) - probability).abs()
    error, order = error.masked_fill(~valid, -1).sort(dim=2, descending=True)  # ignored pixels come last ...
    slope = _lovasz_slope(truth.gather(2, order))
    loss = (error.clamp_min(0) * slope).sum(2)  # ... and add nothing: (B, K)
    counted = truth.any(2) if only_present else valid.any(2).expand_as(loss)
    seen = valid.any(2).flatten()
    return _safe_mean(_safe_mean((loss * counted).sum(1), counted.sum(1)).mul(seen).sum(), seen.sum())


def _lovasz_slope(truth: Tensor) -> Tensor:
    """(B, K, N) bool, sorted by falling error -> how much each pixel adds to 1 - IoU when it too is wrong."""
    found = truth.cumsum(2, dtype=torch.int32)  # integers: a float32 sum stops at 16.7 million pixels
    wrong = torch.arange(1, truth.shape[2] + 1, device=truth.device, dtype=torch.int32)
    total = found[..., -1:]
    jaccard = 1 - (total - found) / (total + wrong - found)
    return jaccard.diff(dim=2, prepend=jaccard.new_zeros(()).expand(*jaccard.shape[:2], 1))


def _per_pixel(
    logits: Tensor, label: Tensor, ignore_index: int, class_weights: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log p (B, K, *S); and (B, *S): that of the true class, negated, its weight, and whether it is not ignored."""
    logits, label = _checked(logits, label)
    if class_weights is not None and class_weights.shape != logits.shape[1:2]:
        raise ValueError(f"expected {logits.shape[1]} class_weights, one per class, got {len(class_weights)}")
    valid = label != ignore_index
    label, log_p = label * valid, logits.log_softmax(1)
    # By gather, since torch's own loss has no deterministic CUDA kernel.
    loss = -log_p.gather(1, label[:, None]).squeeze(1).masked_fill(~valid, 0)
    weight = valid if class_weights is None else class_weights.to(logits)[label] * valid
    return log_p, loss, weight, valid


def _per_class(logits: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (B, K, N), truth (B, K, N) bool without ignored pixels, valid (B, 1, N) bool."""
    logits, label = _checked(logits, label)
    label = label.flatten(1)[:, None]
    valid = label != ignore_index
    probability = logits.flatten(2).softmax(1)
    truth = torch.zeros(probability.shape, dtype=torch.bool, device=label.device)
    return probability, truth.scatter_(1, label * valid, valid), valid


def _checked(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """The logits in at least float32 and the label in int64, once their shapes are found to fit."""
    if not logits.shape[1:] or logits.shape[:1] + logits.shape[2:] != label.shape:
        raise ValueError(
            f"expected logits (B, K, *S) and label (B, *S), got {tuple(logits.shape)} and {tuple(label.shape)}; "
            "resize the logits to the label's size"
        )
    if logits.shape[1] < 2:
        raise ValueError(
            "these losses compare classes by softmax and need at least 2 channels of logits, got "
            f"{logits.shape[1]}; count the background too: num_classes=2"
        )
    if label.is_floating_point():
        raise ValueError(f"label must hold integer class indices, got {label.dtype}; convert it with .long()")
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return wide, label.long()


def _safe_mean(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and total itself (a zero that still has its gradient) where nothing was counted."""
    return total / count.where(count > 0, 1)
