"""What an evaluation found, as one page: scores, intervals, every case, confusion, strata, models, and cases to see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isinf, nan
from pathlib import Path

import numpy as np

from densevit.evaluate.compared import Compared
from densevit.evaluate.confused import MOST_MATRIX, matrix_of
from densevit.evaluate.files import Measured
from densevit.evaluate.pairs import Pairs
from densevit.evaluate.scores import OF_SETS, ONLY_IN_FILES, Scores
from densevit.evaluate.statistics import Interval
from densevit.labels import Color, structure_colors
from densevit.metrics import CaseTable, case_table
from densevit.metrics.records import kind_of
from densevit.progress import Bars
from densevit.report.pages.cases import Look, look_at
from densevit.report.pages.charts import ACROSS, MODELS, Bar, Chart, make_chart
from densevit.report.pages.html import web_color, write_page
from densevit.report.pages.layers import ERRORS
from densevit.report.saving import BLUE

WORST, MOST_DOTS = 4, 6000
MOST_VOXELS = 2**24  # of all volumes in a page's viewer; of those beyond there are slices alone


@dataclass(frozen=True)
class ShownCase:
    """A case to look at, and why: `place` is "worst" or "median"."""

    name: str
    place: str
    value: float
    look: Look


def evaluation_page(
    path: str | Path,
    measured: Measured,
    scores: Scores,
    pairs: Pairs,
    *,
    title: str = "Evaluation",
    compared: Compared | None = None,
    images: Mapping[str, Path] | None = None,
    progress: bool = False,
) -> Path:
    """Write the page of an evaluation: one file of HTML that opens without a network.

    `measured` must have been told to count the confusion, for its matrix to be shown; `images` are the cases' own, to
    be shown below their masks. The cases that are shown are those with the worst and the median mean over structures of
    the metric by which strata and models are compared.
    """
    metrics = [name for name in dict.fromkeys(row.metric for row in scores.rows) if name not in ONLY_IN_FILES]
    metrics.sort(key=lambda name: name != scores.stratum_metric)
    tables = {name: case_table(measured.records, name, scores.policy) for name in metrics}
    by = metrics[0]
    cases, structures = tables[by].cases, list(tables[by].rows)
    colors = dict(zip(structures, structure_colors(len(structures) + 1)[1:], strict=True))
    shown = _shown(measured, pairs, tables[by], colors=colors, images=images or {}, by=by, progress=progress)
    charts = {name: _chart(name, tables[name], scores, colors) for name in metrics}
    matrix = matrix_of(measured)
    return write_page(
        path,
        "evaluation.html.j2",
        title=title,
        measured=measured,
        scores=scores,
        cases=cases,
        metrics=metrics,
        structures=structures,
        rows={(row.level, row.structure, row.metric): row for row in scores.rows},
        of_sets=OF_SETS,
        colors_of={name: web_color(color) for name, color in colors.items()},
        charts=charts,
        named_dots=sum(len(bar.dots) for chart in charts.values() for bar in chart.rows) <= MOST_DOTS,
        across=ACROSS,
        matrix=None if matrix is None or len(matrix.names) > MOST_MATRIX else matrix,
        strata={column: _of_intervals(column, found, scores) for column, found in scores.strata.items()},
        compared=compared,
        models=None if compared is None else _of_models(compared, cases),
        differences=None if compared is None else _differences(compared),
        errors=ERRORS,
        shown=shown,
        viewer=any(case.look.scene for case in shown),
    )


def _chart(metric: str, table: CaseTable, scores: Scores, colors: Mapping[str, Color]) -> Chart:
    """Means of each structure, by case where the policy has them, else over the whole set; and every case."""
    level = "case" if "case" in scores.policy.levels else "set"
    means = {row.structure: row.mean for row in scores.rows if (row.metric, row.level) == (metric, level)}
    bars = []
    for name, values in table.rows.items():
        interval = scores.intervals.get((metric, name), Interval(nan, nan, nan, 0, 0))
        dots = dict(zip(table.cases, values.tolist(), strict=True))
        bars.append(Bar(name, web_color(colors[name]), means[name], interval.low, interval.high, dots))
    return make_chart(metric, bars, unit=_is_share(metric))


def _is_share(metric: str) -> bool:
    return not isinf(kind_of(metric).worst)


def _of_intervals(column: str, found: Mapping[str, Interval], scores: Scores) -> Chart:
    bars = [Bar(f"{name} ({i.cases})", BLUE, i.mean, i.low, i.high, {}) for name, i in found.items()]
    return make_chart(column, bars, unit=_is_share(scores.stratum_metric))


def _of_models(compared: Compared, cases: Sequence[str]) -> Chart:
    unit = _is_share(compared.metric.rpartition(".")[2])
    bars = []
    for i, (name, values) in enumerate(compared.values.items()):
        dots = dict(zip(cases, np.asarray(values).tolist(), strict=True))
        bars.append(Bar(name, MODELS[i % len(MODELS)], float(np.nanmean(values)), nan, nan, dots))
    return make_chart(compared.metric, bars, unit=unit)


def _differences(compared: Compared) -> Chart:
    bars = []
    for each in compared.comparisons:
        mean = each.difference
        bars.append(Bar(f"{each.first} minus {each.second}", BLUE, mean.mean, mean.low, mean.high, {}))
    return make_chart(f"difference of {compared.metric}", bars, unit=False)


def _shown(
    measured: Measured,
    pairs: Pairs,
    table: CaseTable,
    *,
    colors: Mapping[str, Color],
    images: Mapping[str, Path],
    by: str,
    progress: bool,
) -> list[ShownCase]:
    """The worst cases and the median one, by each case's mean over its structures."""
    means, cases, kind = table.by_case(), table.cases, kind_of(by)
    known = np.flatnonzero(~np.isnan(means))
    order = known[np.argsort(means[known] * (1 if kind.best > kind.worst else -1), kind="stable")].tolist()
    chosen = [(i, "worst") for i in order[:WORST]]
    chosen += [(i, "median") for i in order[len(order) // 2 :][:1] if len(order) > WORST]
    files = {pair.case: pair for pair in pairs.pairs}
    shown, left = [], MOST_VOXELS
    with Bars(enabled=progress) as bars:
        for i, place in chosen:
            look = look_at(files[cases[i]], measured, image=images.get(cases[i]), shown=colors, most_voxels=left)
            left -= look.scene.voxels if look.scene else 0
            shown.append(ShownCase(cases[i], place, float(means[i]), look))
            bars.show("report", len(shown), len(chosen))
    return shown
