"""Models that were scored on the same cases, compared by one metric."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from densevit.evaluate.comparison import Comparison, Ranking, compare, rank_models
from densevit.evaluate.files import Measured
from densevit.evaluate.scores import column_of
from densevit.metrics import Policy, case_table
from densevit.metrics.means import over_structures
from densevit.metrics.records import kind_of
from densevit.registry import check_known
from densevit.tables import format_table


@dataclass(frozen=True)
class Compared:
    """Every pair of models, and their ranking, by `metric`: of one structure (`liver.dice`), or of each case the mean
    over its structures (`dice`): `values` are those of each model, one a case."""

    metric: str
    comparisons: Sequence[Comparison]
    ranking: Ranking
    values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def table(self) -> str:
        """Text: differences with intervals and p values, then ranks and how stable they are."""
        pairs = [
            {
                "model": each.first,
                "minus": each.second,
                "difference": f"{each.difference.mean:+.4g}",
                "95 % interval": f"{each.difference.low:+.4g} to {each.difference.high:+.4g}",
                "p (Wilcoxon)": f"{each.p:.2g}",
                "p (Holm)": f"{each.p_holm:.2g}",
                "detectable": f"{each.detectable:.2g}",
                "cases": each.difference.cases,
            }
            for each in self.comparisons
        ]
        ranks = [
            {"rank": rank, "model": name, "resampled studies with that rank or a better one": f"{share:.0%}"}
            for name, rank in self.ranking.ranks.items()
            for share in [sum(self.ranking.shares[name][:rank])]
        ]
        agreement = f"rankings of resampled studies agree with this one to tau = {self.ranking.agreement:.2f}"
        return f"models by {self.metric}:\n\n{format_table(pairs)}\n\n{format_table(ranks)}\n\n{agreement}"


def compare_measured(
    models: Mapping[str, Measured], *, metric: str = "dice", policy: Policy | str = "honest", group: str | None = None
) -> Compared:
    """Compare models over the same cases, by a metric of one structure or by each case's mean over its structures.

    Where one model rightly found nothing and another found what is not there, the first has the best value. ValueError
    where the models were scored on other cases.
    """
    structure, _, name = metric.rpartition(".")
    first = next(iter(models.values()))
    check_known(name, first.records[0].values if first.records else (), what="no metric named")
    tables = [case_table(measured.records, name, policy) for measured in models.values()]
    cases = tables[0].cases
    if any(set(table.cases) != set(cases) for table in tables):
        counts = ", ".join(f"{model}: {len(table.cases)}" for model, table in zip(models, tables, strict=True))
        raise ValueError(f"models are compared over the same cases, and these were scored on others ({counts})")
    best = kind_of(name).best
    tables = [table.among(cases) for table in tables]
    names = list(dict.fromkeys(each for table in tables for each in table.rows))
    if structure:
        check_known(structure, names, what="no structure named")
        names = [structure]
    empty = np.full(len(cases), np.nan)
    values = np.array(
        [[table.rows.get(each, empty) for each in names] for table in tables]
    )  # models, structures, cases
    values = np.where(np.isnan(values) & ~np.isnan(values).all(0), best, values)
    columns = dict(zip(models, over_structures(values), strict=True))
    groups = None if group is None else [column_of(first, case, group) for case in cases]
    ranking = rank_models(columns, groups, higher_is_better=best > kind_of(name).worst)
    return Compared(metric, compare(columns, groups), ranking, columns)
