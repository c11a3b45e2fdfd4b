"""A whole analysis: a checkpoint, or runs that are compared, into a folder of pictures, a page and a JSON file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from densevit.analyze.confusion import config_of, confuse, read_evaluation
from densevit.analyze.inputs import open_model, read_images, read_noise, times
from densevit.analyze.looks import attention_section, field_section, token_section
from densevit.analyze.masks import mask_section
from densevit.analyze.speed import COSTS, as_csv, measure_runs
from densevit.evaluate.confused import Matrix
from densevit.files import check_writable, write_text
from densevit.labels import Color
from densevit.progress import Bars
from densevit.registry import check_known
from densevit.report.matrix import confusion_picture
from densevit.report.pages.analysis import Section, analysis_page
from densevit.report.scatter import Point, scatter
from densevit.report.sheet import Row, prediction_sheet

PAGE, FACTS = "analysis.html", "analysis.json"
PAIRS, EXAMPLES = 12, 5  # confused pairs in the table, and those of which a case is drawn
NEEDS_IMAGES = "Attention is drawn over images, and none was given."


def analyze(
    checkpoint: str | Path,
    images: Sequence[str | Path] = (),
    output: str | Path = "analysis",
    *,
    size: Sequence[int] | None = None,
    query: Sequence[int] | None = None,
    confusion: str | Path | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Path:
    """Analyse a checkpoint on images, and write PNGs, analysis.json and analysis.html into the folder `output`.

    Receptive fields are averaged over the images, or over noise without any; attention and visual tokens are drawn of
    the first of them. `size` is that of the part of the images that is seen, `query` a pixel or voxel of the images
    whose attention is drawn. `confusion` is the JSON of an evaluation, a config on whose data set the checkpoint is
    scored, or "" for the config of its run. Returns the page. ValueError and FileNotFoundError for what does not fit.
    """
    folder = Path(output)
    check_writable(folder)
    source = None if confusion is None else Path(confusion or config_of(checkpoint))
    counted = read_evaluation(source) if source is not None and source.suffix.lower() == ".json" else None
    predictor = open_model(checkpoint, device=device)
    seen = read_images(predictor, images, size=size) if images else []
    if query is not None:
        query = _as_shares(query, [each.original for each in seen])
    inputs = seen or read_noise(predictor, size=size)
    of = f"{len(inputs)} {'image' if len(inputs) == 1 else 'images'}{'' if seen else ' of random noise'}"
    with Bars(enabled=progress) as bars:
        shared = dict(device=predictor.device, bars=bars)
        model, fed = predictor.model, [each.image for each in inputs]
        found = {"receptive_field": field_section(model, fed, folder, of=of, spacing=inputs[0].spacing, **shared)}
        if seen:
            found["attention"] = attention_section(model, seen, folder, query=query, **shared)
            if query is None:
                found["masks"] = mask_section(model, seen, folder, device=predictor.device)
            found["visual_tokens"] = token_section(model, seen, folder, device=predictor.device)
        else:
            found["attention"] = Section("Attention", [NEEDS_IMAGES]), dict(sentences=[NEEDS_IMAGES])
    if source is not None:
        rows, palette = {}, {}
        if counted is None:
            counted, rows, palette = confuse(checkpoint, source, device=device, progress=progress)
        found["confusion"] = _confusion(counted, rows, palette, folder, source=source)
    found = {name: part for name, part in found.items() if part is not None}
    facts = dict(checkpoint=str(predictor.path), images=[each.name for each in seen])
    facts |= {name: content for name, (_, content) in found.items()}
    return _write(folder, [section for section, _ in found.values()], facts, title=f"Analysis of {checkpoint}")


def compare_speed(
    runs: Sequence[str | Path],
    output: str | Path = "analysis",
    *,
    cost: str = "seconds",
    size: Sequence[int] | None = None,
    evaluations: Sequence[str | Path] = (),
    metric: str | None = None,
    device: str | None = None,
    progress: bool = True,
) -> Path:
    """Measure runs on this machine, see `measure_runs`, and write speed.png, speed.csv, analysis.json and
    analysis.html into the folder `output`; `cost` is seconds, parameters or macs. Returns the page."""
    check_known(cost, COSTS, what="no cost named")
    folder = Path(output)
    check_writable(folder)
    with Bars(enabled=progress) as bars:
        options = dict(size=size, evaluations=evaluations, metric=metric, device=device)
        measured = measure_runs(runs, progress=bars, **options)
    if len({run.metric for run in measured}) > 1:
        told = ", ".join(f"{run.name}: {run.metric}" for run in measured)
        raise ValueError(f"the runs were scored by different metrics ({told}); name the metric that is meant")
    sizes = " and ".join(sorted({times(run.size) for run in measured}))
    names = dict(seconds=f"seconds for an image of {sizes}", parameters="parameters", macs=f"MACs for {sizes}")
    points = [Point(run.name, getattr(run, cost), run.score, run.low, run.high) for run in measured]
    picture = scatter(points, folder / "speed.png", cost=names[cost], score=measured[0].metric)
    write_text(folder / "speed.csv", as_csv(measured))
    rows = [asdict(run) | dict(size=times(run.size)) for run in measured]
    told = f"Median seconds of a forward of one random image in float32 on {device or 'cpu'}, one run after another."
    section = Section("Accuracy against speed", [told], rows, pictures=[(names[cost], picture)])
    plain = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    return _write(folder, [section], dict(runs=plain), title="Accuracy against speed")


def _confusion(
    matrix: Matrix, rows: Mapping[tuple[str, str], Row], palette: Mapping[str, Color], folder: Path, *, source: Path
) -> tuple[Section, dict[str, Any]]:
    pairs = matrix.most_confused(PAIRS)
    confusion_picture(matrix, folder / "confusion.png")  # which the page draws itself
    drawn, pictures = (
        [rows[pair.true, pair.predicted] for pair in pairs[:EXAMPLES] if (pair.true, pair.predicted) in rows],
        [],
    )
    if drawn:
        sheet = dict(palette=list(palette.values()), classes=list(palette))
        told = f"for each of the {len(drawn)} most confused pairs, in their order, the case where most of it lies"
        pictures.append((told, prediction_sheet(drawn, folder / "examples.png", **sheet)))
    table = [asdict(pair) | dict(share=round(100 * pair.share, 2)) for pair in pairs]
    table = [{f"{key}, %" if key == "share" else key: value for key, value in row.items()} for row in table]
    told = f"Counted by {source.name}. Shares are of all pixels of the true class."
    return Section("Confusion", [told], table, matrix, pictures), matrix.as_dict()


def _as_shares(query: Sequence[int], sizes: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """A pixel of the images as a share of each axis; ValueError where they have none such."""
    if not sizes:
        raise ValueError("the query is a place in images, and none was given")
    size = sizes[0]
    if len(query) != len(size) or any(tuple(each) != tuple(size) for each in sizes):
        raise ValueError(f"the query is one number for each axis of images of one size, got {len(query)}: {query}")
    if not all(0 <= place < n for place, n in zip(query, size, strict=True)):
        raise ValueError(f"the query {' '.join(map(str, query))} lies outside of images of {times(size)}")
    return tuple((place + 0.5) / n for place, n in zip(query, size, strict=True))


def _write(folder: Path, sections: Sequence[Section], facts: dict[str, Any], *, title: str) -> Path:
    content = dict(schema="densevit.analysis", version=1, **facts)
    write_text(folder / FACTS, json.dumps(content, indent=1) + "\n")
    return analysis_page(folder / PAGE, sections, title=title)
