"""What every loss asks of its input, and how it counts the pixels that take part."""

import torch
from torch import Tensor


def num_valid(label: Tensor, *, ignore_index: int = 255) -> Tensor:
    """How many pixels are not ignored: an int64 scalar on the label's device, so that asking does not wait for it."""
    return torch.count_nonzero(label != ignore_index)


def prepare(logits: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Check shapes; return the logits in at least float32 and the label in int64."""
    if not logits.shape[1:] or logits.shape[:1] + logits.shape[2:] != label.shape:
        raise ValueError(
            f"expected logits (B, K, *S) and label (B, *S), got {tuple(logits.shape)} and {tuple(label.shape)}; "
            "resize the logits to the label's size"
        )
    if logits.shape[1] < 2:
        raise ValueError(
            f"these losses compare classes by softmax and need at least 2 channels of logits, got {logits.shape[1]}; "
            "for one kind of foreground count the background too: num_classes=2"
        )
    if label.is_floating_point():
        raise ValueError(f"label must hold integer class indices, got {label.dtype}; convert it with .long()")
    wide = logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
    return wide, label.long()


def prepare_weights(class_weights: Tensor | None, logits: Tensor) -> Tensor | None:
    """Check that there is one weight per class; bring them to the logits' device and type."""
    if class_weights is None:
        return None
    if class_weights.shape != logits.shape[1:2]:
        raise ValueError(
            f"expected {logits.shape[1]} class_weights, one per class, got shape {tuple(class_weights.shape)}"
        )
    return class_weights.to(logits)


def safe_mean(total: Tensor, count: Tensor) -> Tensor:
    """total / count, and total itself (a zero that still has its gradient) where nothing was counted."""
    return total / count.where(count > 0, 1)
