"""Reductions of finished logits: (K, *S) -> one number per voxel, or J of them.

A reduction sees each voxel by itself, so that the sliding window can apply it to a few planes at a time.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from densevit.registry import check_known

Reduce = Callable[[Tensor], Tensor]
NO_NUMBER = (
    "the model's answer is not a number: numbers of mixed precision may have overflown, predict without it or with "
    "amp='bf16'; otherwise the checkpoint is bad, take an earlier one"
)


def logits(x: Tensor) -> Tensor:
    """The logits themselves: (K, *S)."""
    return x


def labels(x: Tensor) -> Tensor:
    """The likeliest class, the first of equals: (K, *S) -> (*S) int64. ValueError where NaN leaves none."""
    best, label = x.max(0) if x.stride(0) == 1 or len(x) > 255 else _max(x)
    if best.isnan().any():  # the largest logit is NaN as soon as one is
        raise ValueError(NO_NUMBER)
    return label


def _max(x: Tensor) -> tuple[Tensor, Tensor]:
    """As `x.max(0)`, by whole-array operations: two to three times as fast where classes lie far apart in memory."""
    best = x.amax(0)
    rank = torch.arange(len(x), 0, -1, dtype=torch.uint8, device=x.device).view(-1, *(1 for _ in x.shape[1:]))
    reached = torch.eq(x, best).view(torch.uint8).mul_(rank)  # K for the first class, if it is the best, 1 for the last
    return best, len(x) - reached.amax(0).long()


def regions(x: Tensor) -> Tensor:
    """Of classes that lie within one another, the last whose logit is above 0; else the first: (K, *S) -> (*S) int64.

    ValueError where a logit is no number.
    """
    if x.isnan().any():
        raise ValueError(NO_NUMBER)
    rank = torch.arange(1, len(x), device=x.device).view(-1, *(1 for _ in x.shape[1:]))
    above = (x[1:] > 0) * rank
    return above.amax(0) if len(above) else torch.zeros(x.shape[1:], dtype=torch.int64, device=x.device)


def probabilities(x: Tensor) -> Tensor:
    """Softmax over the classes: (K, *S)."""
    return x.softmax(0)


def multilabel(threshold: float = 0.5) -> Reduce:
    """Classes that do not exclude one another: where the sigmoid exceeds `threshold`, (K, *S) bool."""
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must lie between 0 and 1, got {threshold}; it is compared with a probability")
    cut = torch.logit(torch.tensor(threshold, dtype=torch.float64)).item()
    return lambda x: x > cut


def of_classes(classes: Sequence[int], reduce: Reduce = probabilities) -> Reduce:
    """Some channels of what another reduction gives: `of_classes([1, 3])` are two probabilities, (2, *S)."""
    chosen = list(classes)
    return lambda x: reduce(x)[chosen]


REDUCTIONS: dict[str, Reduce] = {
    "labels": labels,
    "regions": regions,
    "logits": logits,
    "probabilities": probabilities,
    "multilabel": multilabel(),
}


def named_reduction(reduce: str | Reduce) -> Reduce:
    """The reduction of that name, or the callable, which then must keep sizes; ValueError for an unknown name."""
    if not callable(reduce):
        check_known(reduce, REDUCTIONS, what="no reduce named")
        return REDUCTIONS[reduce]

    def checked(x: Tensor) -> Tensor:
        result = reduce(x)
        if result.shape[-(x.ndim - 1) :] != x.shape[1:]:
            shapes = f"of logits {tuple(x.shape)} it made {tuple(result.shape)}"
            raise ValueError(f"reduce must keep the size: {shapes}; it sees parts, and gives (*S) or (J, *S) of each")
        return result

    return reduce if reduce in REDUCTIONS.values() else checked
