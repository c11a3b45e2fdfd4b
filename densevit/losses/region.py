"""Losses that are a mean over classes of how badly regions overlap: Dice and Lovász-Softmax.

logits (B, K, *S) in any float type, computed in at least float32; label (B, *S) integers; result a scalar.
A batch in which every pixel is ignored gives 0 with a gradient of zeros: ask `num_valid` to notice it.
"""

import torch
from torch import Tensor

from densevit.losses.checks import prepare, safe_mean


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
    probability, truth, valid = _flatten(logits, label, ignore_index)
    axes = (2,) if per_image else (0, 2)
    overlap = (probability * truth).sum(axes)  # (B, K) or (K,)
    size = (probability * valid).sum(axes) + truth.sum(axes)
    loss = 1 - (2 * overlap + smooth) / (size + smooth)
    loss = loss[..., 0 if include_background else 1 :].mean(-1)
    seen = valid.any(-1).flatten() if per_image else valid.any()
    return safe_mean((loss * seen).sum(), seen.sum())


def lovasz_softmax(
    logits: Tensor,
    label: Tensor,
    *,
    ignore_index: int = 255,
    per_image: bool = False,
    only_present: bool = True,
) -> Tensor:
    """The Lovász extension of 1 - IoU, of each class against the rest, mean over classes (https://arxiv.org/abs/1705.08790).

    `only_present` averages the classes that the labels hold; `per_image` takes the loss of each image by itself and
    averages those that have a valid pixel.
    """
    probability, truth, valid = _flatten(logits, label, ignore_index)
    if not per_image:  # one long image
        probability, truth, valid = (x.transpose(0, 1).flatten(1)[None] for x in (probability, truth, valid))
    error = (truth.to(probability) - probability).abs()
    error, order = error.masked_fill(~valid, -1).sort(dim=2, descending=True)  # ignored pixels come last ...
    slope = _lovasz_slope(truth.gather(2, order))
    loss = (error.clamp_min(0) * slope).sum(2)  # ... and add nothing: (B, K)
    counted = truth.any(2) if only_present else valid.any(2).expand_as(loss)
    seen = valid.any(2).flatten()
    return safe_mean(safe_mean((loss * counted).sum(1), counted.sum(1)).mul(seen).sum(), seen.sum())


def _lovasz_slope(truth: Tensor) -> Tensor:
    """(B, K, N) bool, sorted by falling error -> how much each pixel adds to 1 - IoU when it too is wrong."""
    found = truth.cumsum(2, dtype=torch.int32)  # integers: a float32 sum stops at 16.7 million pixels
    wrong = torch.arange(1, truth.shape[2] + 1, device=truth.device, dtype=torch.int32)
    total = found[..., -1:]
    jaccard = 1 - (total - found) / (total + wrong - found)
    return jaccard.diff(dim=2, prepend=jaccard.new_zeros(()).expand(*jaccard.shape[:2], 1))


def _flatten(logits: Tensor, label: Tensor, ignore_index: int) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities (B, K, N), truth (B, K, N) bool without ignored pixels, valid (B, 1, N) bool."""
    logits, label = prepare(logits, label)
    label = label.flatten(1)[:, None]
    valid = label != ignore_index
    probability = logits.flatten(2).softmax(1)
    truth = torch.zeros(probability.shape, dtype=torch.bool, device=label.device)
    return probability, truth.scatter_(1, label * valid, valid), valid
