"""How sure a mean over cases is: intervals by the bootstrap, and what a study could detect.

Legend: N cases, G groups (patients), R rounds of resampling. A case whose value is nan has none, and counts nowhere.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

ROUNDS = 5000
DRAWN_AT_ONCE = 2**20  # groups


@dataclass(frozen=True)
class Interval:
    """A `mean` over `cases`, and the interval `low` to `high` that covers the true mean in `level` of all studies.

    `groups` is how many independent units the cases come from: patients, or the cases themselves. With fewer than two
    of them, or an infinite value among them, nothing is known of the spread, and `low` and `high` are nan.
    """

    mean: float
    low: float
    high: float
    cases: int
    groups: int
    level: float = 0.95

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"


def interval_of_mean(
    values: Sequence[float],
    groups: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Interval:
    """The mean of (N,) values, one a case, and its confidence interval.

    Whole `groups` are drawn, so that several scans of one patient do not pass for several patients. ValueError for
    groups of another length, or a level that does not lie between 0 and 1.

    Percentiles of the bootstrap, corrected for bias and skewness (BCa, Efron 1987) and widened as a t interval is
    (Hesterberg 2015), without which those of 10 to 20 cases are too short. The studentized bootstrap covers as well,
    but one failure among few cases sends it to the ends of the scale. No resampling knows of what was never seen: where
    failures are rare and the cases few, every interval is too short.
    """
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}; 0.95 is usual")
    sums, counts = _by_group(values, groups)
    cases, n = int(counts.sum()), len(counts)
    if n == 0:
        return Interval(np.nan, np.nan, np.nan, 0, 0, level)
    mean = float(sums.sum() / counts.sum())
    if n == 1 or not np.isfinite(mean):
        return Interval(mean, np.nan, np.nan, cases, n, level)
    means = _resampled_means(sums, counts, rounds=rounds, seed=seed)
    below = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = stats.norm.ppf(np.clip(below, 1 / rounds, 1 - 1 / rounds))
    residuals = sums - mean * counts
    size = np.sum(residuals**2) ** 1.5
    skewness = np.sum(residuals**3) / (6 * size) if size > 0 else 0.0
    even = counts.sum() ** 2 / np.sum(counts**2)  # as many groups of one size say as much
    ends = np.sqrt(n / (n - 1)) * stats.t.ppf([(1 - level) / 2, (1 + level) / 2], max(even - 1, 1)) + bias
    low, high = np.quantile(means, stats.norm.cdf(bias + ends / np.maximum(1 - skewness * ends, 1e-9)))
    return Interval(mean, float(low), float(high), cases, n, level)


def detectable_difference(
    differences: Sequence[float], groups: Sequence[Hashable] | None = None, *, level: float = 0.95, power: float = 0.8
) -> float:
    """The smallest true mean difference that a paired t test on as many groups finds with this power; nan below two.

    `differences` are (N,), one a case, of two models that were compared; their spread is taken for that of the next
    study. In the metric's own unit.
    """
    sums, counts = _by_group(differences, groups)
    if len(counts) < 2:
        return float("nan")
    groups = len(counts)
    residuals = sums - sums.sum() / counts.sum() * counts
    error = np.sqrt(groups / (groups - 1) * np.sum(residuals**2)) / counts.sum()
    return float((stats.t.ppf((1 + level) / 2, groups - 1) + stats.t.ppf(power, groups - 1)) * error)


def group_means(values: Sequence[float], groups: Sequence[Hashable] | None) -> np.ndarray:
    """(G,): the mean of each group's cases, in the order in which groups first stand there."""
    sums, counts = _by_group(values, groups)
    return sums / counts


def columns_of_groups(groups: Sequence[Hashable] | None, cases: int) -> np.ndarray:
    """(N,) numbers of groups from 0 on, by first appearance; each case its own without groups."""
    if groups is None:
        return np.arange(cases)
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], int)


def _by_group(values: Sequence[float], groups: Sequence[Hashable] | None) -> tuple[np.ndarray, np.ndarray]:
    """(G,) sums and (G,) counts of the cases that have a value."""
    values = np.asarray(values, float)
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"groups are given for {len(groups)} cases, values for {len(values)}; one for each is needed")
    there = ~np.isnan(values)
    kept = None if groups is None else [group for group, has in zip(groups, there, strict=True) if has]
    number = columns_of_groups(kept, int(there.sum()))
    return np.bincount(number, values[there]), np.bincount(number).astype(float)


def _resampled_means(sums: np.ndarray, counts: np.ndarray, *, rounds: int, seed: int) -> np.ndarray:
    """(R,): the mean over all cases of as many groups drawn with replacement."""
    rng, n = np.random.default_rng(seed), len(counts)
    at_once = max(1, DRAWN_AT_ONCE // n)
    drawn = (rng.integers(0, n, (min(at_once, rounds - i), n)) for i in range(0, rounds, at_once))
    return np.concatenate([sums[part].sum(1) / counts[part].sum(1) for part in drawn])


def as_table(columns: Mapping[str, Sequence[float]]) -> tuple[list[str], np.ndarray]:
    """Names, and (M, N) values of M models over the same N cases; ValueError where their numbers differ."""
    names = list(columns)
    lengths = {name: len(columns[name]) for name in names}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"models are compared over the same cases, got {lengths}; leave out cases that one lacks")
    return names, np.array([np.asarray(columns[name], float) for name in names])
