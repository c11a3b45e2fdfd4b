"""Transforms of another library that `augment.extra` names: found by name, and tried on noise before training."""

import logging
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any

import numpy as np

from densevit.options import check_bools
from densevit.registry import check_known

logger = logging.getLogger("densevit")
SEEDS = range(3)  # of as many trials


def find_transform(
    entry: Mapping[str, Any], known: Mapping[str, type], *, what: str, ours: Sequence[str] = ()
) -> tuple[type, dict[str, Any]]:
    """The class among `known` that dict(type="GaussianBlur", p=0.1) names, and its arguments.

    ValueError for a name or an argument that there is not; `what` is the sentence as far as the name, `ours` are
    arguments that the class itself need not take.
    """
    options = dict(entry)
    name = options.pop("type", None)
    check_known(name, known, what=f"augment.extra: {what}")
    takes = signature(known[name]).parameters
    for key in options:
        check_known(key, [*takes, *ours], what=f"augment.extra: {name} has no key")
    check_bools(takes, options, where=f"augment.extra: {name}.")
    return known[name], options


def check_changes(
    name: str, given: Sequence[np.ndarray], *, trials: Sequence[Sequence[object]], every_time: bool
) -> None:
    """Raise ValueError where a transform changes the size or the type of an array: what is predicted later keeps both.

    `trials` hold what it made of the arrays `given`, with a seed of its own each. A transform that is used `every_time`
    and always does the same, as a grey copy would, is warned of.
    """
    for before, after in ((before, after) for arrays in trials for before, after in zip(given, arrays, strict=True)):
        if not isinstance(after, np.ndarray) or after.dtype != before.dtype:
            kind = after.dtype if isinstance(after, np.ndarray) else f"a {type(after).__name__}"
            change = f"turns {before.dtype} numbers into {kind}, and samples are normalised once"
            raise ValueError(f"augment.extra: {name} {change}, as normalization says; leave it out")
        if after.shape != before.shape:
            change = f"turns a crop of {before.shape} into one of {after.shape}"
            raise ValueError(f"augment.extra: {name} {change}; use transforms that keep the size")
    alike = all(_equal(trials[0], arrays) for arrays in trials[1:])
    if every_time and alike and not _equal(trials[0], given):
        logger.warning(
            "augment.extra: %s does the same to every sample of training, and nothing that is predicted later is "
            "changed so; give it a probability below 1, or change the files themselves",
            name,
        )


def _equal(first: Sequence[object], second: Sequence[object]) -> bool:
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))
