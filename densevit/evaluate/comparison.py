"""Whether one model is better than another: paired tests over the same cases, and how stable a ranking is.

Legend: M models, N cases, G groups (patients), R rounds of resampling.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from densevit.evaluate.statistics import (
    Interval,
    as_table,
    columns_of_groups,
    detectable_difference,
    group_means,
    interval_of_mean,
)


@dataclass(frozen=True)
class Comparison:
    """`difference` is the mean of `first` minus `second`, with its interval; `p` is Wilcoxon's signed-rank test, two
    sided, on the mean difference of each group, `p_holm` the same corrected for all comparisons made at once.

    `detectable` is the smallest true difference that as many groups would show with a power of 80 %: where the interval
    holds 0, differences below it may well be there.
    """

    first: str
    second: str
    difference: Interval
    p: float
    p_holm: float
    detectable: float


@dataclass(frozen=True)
class Ranking:
    """Models from best to worst: `ranks` maps each to its rank over all cases (equal means share the better one),
    `shares` to the share of resampled studies in which it took rank 1, 2, ...; `agreement` is the mean Kendall's tau-b
    between those studies' rankings and this one: 1 where every study would rank alike."""

    ranks: dict[str, int]
    shares: dict[str, list[float]]
    agreement: float


def compare(
    models: Mapping[str, Sequence[float]],
    groups: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    if_both_empty: float | None = None,
    seed: int = 0,
) -> list[Comparison]:
    """Every pair of models over the same cases: name -> (N,) values of one metric, one a case.

    A case in which one model has no value (nan: a structure that is neither there nor predicted) but the other has, as
    it found what is not there, counts as `if_both_empty` for the first (1 for Dice, 0 for a distance): else the false
    finding would be left out. Cases in which neither has a value count nowhere. ValueError where a value is missing and
    `if_both_empty` is not given.
    """
    names, table = as_table(models)
    pairs = list(combinations(range(len(names)), 2))
    found = []
    for a, b in pairs:
        differences = _differences(table[[a, b]], [names[a], names[b]], if_both_empty)
        units = group_means(differences, groups)
        p = stats.wilcoxon(units).pvalue if np.any(units != 0) else 1.0 if len(units) else float("nan")
        found.append((differences, float(p)))
    corrected = holm([p for _, p in found])
    return [
        Comparison(
            first=names[a],
            second=names[b],
            difference=interval_of_mean(differences, groups, level=level, seed=seed),
            p=p,
            p_holm=adjusted,
            detectable=detectable_difference(differences, groups, level=level),
        )
        for (a, b), (differences, p), adjusted in zip(pairs, found, corrected, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """p values corrected for their number (Holm 1979), in the order given; nan stays and counts for none."""
    p = np.asarray(p_values, float)
    order = [i for i in np.argsort(p) if not np.isnan(p[i])]
    adjusted, most = p.copy(), 0.0
    for place, i in enumerate(order):
        most = max(most, min(1.0, (len(order) - place) * p[i]))
        adjusted[i] = most
    return adjusted.tolist()


def rank_models(
    models: Mapping[str, Sequence[float]],
    groups: Sequence[Hashable] | None = None,
    *,
    higher_is_better: bool = True,
    if_both_empty: float | None = None,
    rounds: int = 2000,
    seed: int = 0,
) -> Ranking:
    """Rank models by their mean over the same cases, and say how far other studies would rank them alike.

    Whole groups are resampled, all models on the same ones. For `if_both_empty` see `compare`.
    """
    names, table = as_table(models)
    table = _filled(table, names, if_both_empty)
    there = ~np.isnan(table).any(0)
    kept = groups if groups is None else [group for group, has in zip(groups, there, strict=True) if has]
    number, table = columns_of_groups(kept, int(there.sum())), table[:, there] * (1 if higher_is_better else -1)
    if not table.size:
        raise ValueError("no case has a value in all models; there is nothing to rank by")
    counts = np.bincount(number)
    sums = np.array([np.bincount(number, row) for row in table])
    drawn = np.random.default_rng(seed).integers(0, len(counts), (rounds, len(counts)))
    means = sums[:, drawn].sum(2) / counts[drawn].sum(1)
    whole = _ranks(table.mean(1))
    each = np.array([_ranks(study) for study in means.T])
    shares = [[float((each[:, m] == rank).mean()) for rank in range(1, len(names) + 1)] for m in range(len(names))]
    different, times = np.unique(each, axis=0, return_counts=True)
    taus = np.array([stats.kendalltau(whole, study).statistic for study in different])
    known = ~np.isnan(taus)  # tau of a tie of all models is not defined
    agreement = float(np.average(taus[known], weights=times[known])) if known.any() else float("nan")
    order = sorted(range(len(names)), key=lambda m: whole[m])
    return Ranking({names[m]: int(whole[m]) for m in order}, {names[m]: shares[m] for m in order}, agreement)


def _ranks(means: np.ndarray) -> np.ndarray:
    """(M,) -> (M,) ranks from 1; equal means share the better one."""
    return stats.rankdata(-means, method="min").astype(int)


def _differences(pair: np.ndarray, names: Sequence[str], if_both_empty: float | None) -> np.ndarray:
    filled = _filled(pair, names, if_both_empty)
    return filled[0] - filled[1]


def _filled(table: np.ndarray, names: Sequence[str], if_both_empty: float | None) -> np.ndarray:
    """(M, N) with a value for every model in each case in which any has one."""
    empty = np.isnan(table)
    lacking = empty & ~empty.all(0)
    if lacking.any() and if_both_empty is None:
        model = int(lacking.any(1).argmax())
        raise ValueError(
            f"{names[model]} has no value in {int(lacking[model].sum())} cases in which another model has one; say "
            "what such a case counts as with if_both_empty (1 for Dice, 0 for a distance)"
        )
    return table if if_both_empty is None else np.where(lacking, if_both_empty, table)
