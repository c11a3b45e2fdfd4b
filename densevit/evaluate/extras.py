"""Scores of what lies beside label maps, over all pixels of a set and by case: iIoU of instances, and calibration."""

from collections.abc import Callable, Hashable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from densevit.evaluate.files import Measured
from densevit.evaluate.statistics import Interval, interval_of_mean
from densevit.metrics import CaseTable, Policy

Groups = Mapping[str, Hashable] | None


@dataclass(frozen=True)
class Extra:
    """A score of one structure, or of all where `structure` is None: `of_set` over all pixels, and the mean over
    `cases`, each case's own score, with its interval."""

    metric: str
    structure: str | None
    of_set: float
    mean: Interval
    cases: Mapping[str, float]


def extra_scores(measured: Measured, policy: Policy, groups: Groups) -> list[Extra]:
    """`iiou`, `ece_top`, `brier` and `ece_class`: those that something was measured for.

    ValueError where the probabilities of two cases are of other classes.
    """
    besides = measured.besides
    instances = {case: each.instances for case, each in besides.items() if each.instances is not None}
    calibrations = {case: each.calibration for case, each in besides.items() if each.calibration is not None}
    classes = {case: besides[case].classes for case in calibrations}
    if len(set(classes.values())) > 1:
        of = ", ".join(f"{case}: {len(each)}" for case, each in list(classes.items())[:5])
        raise ValueError(f"probabilities are calibrated over the same classes in all cases, got others ({of}, ...)")
    names = next(iter(classes.values()), ())
    found = []
    if instances:
        found += _extras("iiou", lambda each: each.compute(), instances, policy, groups)
    if calibrations:
        found += _extras("ece_top", lambda each: {None: each.compute().ece_top}, calibrations, policy, groups)
        found += _extras("brier", lambda each: {None: each.compute().brier}, calibrations, policy, groups)
        found += _extras(
            "ece_class",
            lambda each: dict(zip(names, each.compute().ece_class.tolist(), strict=True)),
            calibrations,
            policy,
            groups,
        )
    return found


def _extras(
    metric: str,
    values_of: Callable[[Any], Mapping[str | None, float]],
    parts: Mapping[str, Any],
    policy: Policy,
    groups: Groups,
) -> list[Extra]:
    """Of `parts`, what was counted in each case: the scores of all of it, and of each; then their mean over structures,
    where there are several."""
    whole, *others = (deepcopy(part) for part in parts.values())
    for other in others:
        whole.merge(other)
    of_set, of_cases = values_of(whole), {case: values_of(part) for case, part in parts.items()}
    rows = {name: np.array([values[name] for values in of_cases.values()]) for name in of_set}
    table = CaseTable(policy, list(parts), rows)
    found = [
        Extra(
            metric,
            name,
            of_set[name],
            interval_over(table, values, groups),
            dict(zip(parts, values.tolist(), strict=True)),
        )
        for name, values in rows.items()
    ]
    if None in rows:
        return found
    mean = replace(interval_over(table, table.shares(), groups), mean=table.mean())
    by_case = dict(zip(parts, table.by_case().tolist(), strict=True))
    return [*found, Extra(metric, None, policy.mean_over_structures([*of_set.values()]), mean, by_case)]


def interval_over(table: CaseTable, values: np.ndarray, groups: Groups) -> Interval:
    """Of (N,) values of the table's cases; `groups` says whose each case is."""
    return interval_of_mean(values, None if groups is None else [groups[case] for case in table.cases])
