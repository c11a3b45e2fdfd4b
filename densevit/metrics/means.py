"""The means of a data set, in one place: values (K structures, N cases) -> over cases, over structures, over both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np

from densevit.metrics.policies import POLICIES, Policy
from densevit.metrics.records import Record


@dataclass(frozen=True)
class CaseTable:
    """What each case counts for in the means of one metric: structure -> (N,), nan where it counts nowhere."""

    policy: Policy
    cases: Sequence[str]
    rows: Mapping[str, np.ndarray]

    def by_structure(self) -> dict[str, float]:
        """Each structure's mean over cases."""
        return {name: self.policy.mean(values.tolist()) for name, values in self.rows.items()}

    def by_case(self) -> np.ndarray:
        """(N,): each case's mean over its structures, nan where it has none."""
        return over_structures(np.array([*self.rows.values()]))

    def mean(self) -> float:
        """Over structures and cases, in the order of the policy."""
        if self.policy.over == "cases":
            return self.policy.mean(self.by_case().tolist())
        return self.policy.mean_over_structures([*self.by_structure().values()])

    def shares(self) -> np.ndarray:
        """(N,) whose mean over the cases is `mean`, and whose spread is that mean's: what is resampled.

        A structure's cases without a value have no influence on the mean over structures, the others the more (the
        linearised mean). A case without any value is nan.
        """
        if self.policy.over == "cases":
            return self.by_case()
        mean = self.mean()
        if not np.isfinite(mean):  # a policy may give missed structures an infinite distance
            return np.full(len(self.cases), mean)
        columns = [values for values in self.rows.values() if not np.isnan(values).all()]
        there = ~np.isnan(columns).all(0)
        influence = [
            np.nan_to_num(values - np.nanmean(values)) * np.count_nonzero(there) / np.count_nonzero(~np.isnan(values))
            for values in columns
        ]
        return np.where(there, mean + np.mean(influence, axis=0), nan)

    def among(self, cases: Sequence[str]) -> "CaseTable":
        """The same of these cases, in their order."""
        place = {case: i for i, case in enumerate(self.cases)}
        chosen = [place[case] for case in cases]
        return replace(self, cases=cases, rows={name: values[chosen] for name, values in self.rows.items()})


def case_table(records: Sequence[Record], metric: str, policy: Policy | str = "honest") -> CaseTable:
    """The values by structure and case of one metric, both in the order of the records."""
    place = {case: i for i, case in enumerate(dict.fromkeys(record.case for record in records))}
    rows: dict[str, np.ndarray] = {}
    for record, value in zip(records, case_values(records, metric, policy).tolist(), strict=True):
        rows.setdefault(record.structure, np.full(len(place), nan))[place[record.case]] = value
    return CaseTable(find_policy(policy), list(place), rows)


def case_values(records: Sequence[Record], metric: str, policy: Policy | str = "honest") -> np.ndarray:
    """(N,): what each record counts for in a mean, nan where it is left out; the input of any statistics.

    A missed structure's distance is the diagonal of the largest case among these records, so that no case's error can
    lower the mean of the others.
    """
    policy = find_policy(policy)
    worst = max((record.diagonal for record in records), default=nan)
    return np.array([policy.value(record, metric, worst=worst) for record in records], dtype=float)


def over_structures(values: np.ndarray) -> np.ndarray:
    """(..., K, N) -> (..., N): the mean of those structures of each case that have a value, nan where none has."""
    there = ~np.isnan(values)
    return np.where(there, values, 0).sum(-2) / np.where(there.any(-2), there.sum(-2), nan)


def find_policy(policy: Policy | str) -> Policy:
    """A policy by its name; ValueError for others."""
    if isinstance(policy, Policy):
        return policy
    if policy not in POLICIES:
        raise ValueError(f"no policy {policy!r}; there are {', '.join(POLICIES)}")
    return POLICIES[policy]
