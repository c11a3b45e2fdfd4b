"""Training runs as one page: what each was, curves, scores of classes, predictions, differences of their configs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densevit.options import dotted
from densevit.quoting import sentence
from densevit.report.board import Triple, board_pictures
from densevit.report.pages.charts import ACROSS
from densevit.report.pages.curves import UP, legend, make_panels
from densevit.report.pages.html import web_color, write_page
from densevit.report.thumbnails import picture_address
from densevit.runs.compared import ABSENT, compare_validation, differences, headline
from densevit.runs.folder import BOARD
from densevit.runs.run import Run, is_number
from densevit.tables import format_cell

LONGEST = 640  # pixels of a picture
UNRECORDED = "not recorded"


@dataclass(frozen=True)
class Prediction:
    """An image that runs were validated on: data: addresses, of the predictions by the names of runs."""

    name: str
    image: str
    truth: str
    predictions: Mapping[str, str]


def runs_page(
    path: str | Path,
    runs: Sequence[Run],
    *,
    title: str = "Training runs",
    predicted: Mapping[str, Mapping[str, Triple]] | None = None,
) -> Path:
    """Write the page of some runs: one file of HTML that opens without a network.

    `predicted` are pictures by the names of runs and of images; of runs that it does not hold those are shown that
    their TensorBoard folders hold, of the best validation.
    """
    rows, unknown = headline(runs)
    main, others = make_panels(runs)
    pictures = {run.name: (predicted or {}).get(run.name) or _drawn(run) for run in runs}
    return write_page(
        path,
        "runs.html.j2",
        title=title,
        runs=runs,
        facts={key: [cell(key, row[key]) for row in rows] for key in rows[0] if key != "run"},
        unrecorded=UNRECORDED,
        unknown=unknown,
        compared=compare_validation(runs),
        lines=legend(runs),
        main=main,
        others=others,
        across=ACROSS,
        up=UP,
        classes=_by_class(runs),
        palettes=_palettes(run for run in runs if pictures[run.name]),
        predictions=_beside_each_other(pictures),
        without_pictures=[name for name, found in pictures.items() if not found],
        remade=sorted(predicted or ()),
        differences={key: _texts(values) for key, values in differences(runs).items()},
        configs={run.name: {key: sentence(repr(value)) for key, value in dotted(run.settings).items()} for run in runs},
    )


def cell(key: str, value: Any) -> str:
    """A fact of a run, by its word in the table, as it is read."""
    if value is None:
        return UNRECORDED
    if key == "parameters":
        return f"{value / 1e6:.2f} M"
    if key == "training time":
        minutes, seconds = divmod(round(value), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    if key.startswith(("best m", "last m")) and not key.endswith(" at"):
        return f"{value:.2f}"
    return format_cell(value) if isinstance(value, int | float) and key != "seed" else str(value)


def _texts(values: Sequence[Any]) -> list[str]:
    return [value if value is ABSENT else sentence(repr(value)) for value in values]


def _of_classes(run: Run) -> str:
    """The score of single classes whose mean chooses the best weights: IoU of mIoU."""
    return run.metric.removeprefix("m")


def _by_class(runs: Sequence[Run]) -> dict[str, dict[str, list[float | None]]]:
    """Score -> class -> its value at each run's best validation, in percent; empty where no run has any."""
    found = [run.best.classes or {} if run.best else {} for run in runs]
    names = dict.fromkeys(name for each in found for name in each)
    metrics = dict.fromkeys([_of_classes(run) for run in runs])
    metrics |= dict.fromkeys(metric for each in found for scores in each.values() for metric in scores)
    tables = {
        metric: {name: [each.get(name, {}).get(metric) for each in found] for name in names} for metric in metrics
    }
    return {
        metric: table
        for metric, table in tables.items()
        if any(is_number(value) for values in table.values() for value in values)
    }


def _palettes(runs: Iterable[Run]) -> list[dict[str, str]]:
    """Classes and their colours, of all runs whose weights say them, each such list once."""
    found = []
    for run in runs:
        if run.header is not None:
            colors = {
                name: web_color(color) for name, color in zip(run.header.classes, run.header.palette, strict=True)
            }
            found += [colors] if colors not in found else []
    return found


def _drawn(run: Run) -> Mapping[str, Triple]:
    return board_pictures(run.folder / BOARD, iteration=run.best.iteration if run.best else None)


def _beside_each_other(pictures: Mapping[str, Mapping[str, Triple]]) -> list[Prediction]:
    """Of the same image with the same truth all predictions in a row; what differs has a row of its own."""
    rows: dict[tuple[str, bytes, bytes], dict[str, Triple]] = {}
    for run, drawn in pictures.items():
        for name, triple in drawn.items():
            key = (name, triple[0].tobytes(), triple[1].tobytes())
            rows.setdefault(key, {})[run] = triple
    found = []
    for (name, _, _), by_run in rows.items():
        image, truth, _ = next(iter(by_run.values()))
        predictions = {run: _map(prediction) for run, (_, _, prediction) in by_run.items()}
        found.append(Prediction(name, _photo(image), _map(truth), predictions))
    return found


def _map(colors: np.ndarray) -> str:
    return picture_address(_small(colors, Image.Resampling.NEAREST), "png")


def _photo(image: np.ndarray) -> str:
    return picture_address(_small(image, Image.Resampling.BOX), "jpeg", quality=85)


def _small(colors: np.ndarray, how: Image.Resampling) -> Image.Image:
    picture = Image.fromarray(colors)
    scale = min(1, LONGEST / max(picture.size))
    return picture.resize([max(1, round(scale * n)) for n in picture.size], how)
