"""How good each run is against what it costs: its score, seconds for an image on this machine, parameters and MACs."""

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite, nan
from pathlib import Path
from statistics import median

import torch
from torch import nn

from densevit.analyze.inputs import on_axes, times
from densevit.checkpoint import build_model, open_checkpoint
from densevit.checkpoint.header import Header
from densevit.macs import count_macs
from densevit.metrics.records import kind_of
from densevit.processes import pick_device
from densevit.quoting import csv_cell
from densevit.registry import check_known
from densevit.runs.run import name_folders
from densevit.texts import read_json

COSTS = ("seconds", "parameters", "macs")
SCORES = ("mCaseDice", "mIoU")  # of a training, as the first that is there is taken
LEAST, LONGEST, MOST = 5, 2.0, 20  # forwards that are timed, seconds that they take, and forwards again


@dataclass(frozen=True)
class Run:
    """A run with its costs: `seconds` is the median forward of one image of `size`; `score` in percent or mm, with the
    interval where an evaluation has one, else nan."""

    name: str
    metric: str
    score: float
    low: float
    high: float
    seconds: float
    parameters: int
    macs: int
    size: tuple[int, ...]


def measure_runs(
    runs: Sequence[str | Path],
    *,
    size: Sequence[int] | None = None,
    evaluations: Sequence[str | Path] = (),
    metric: str | None = None,
    device: str | torch.device | None = None,
    progress: object = None,
) -> list[Run]:
    """Measure the model of each run's best weights here, one after another, on random images of `size` (by default 512
    pixels or 128 voxels an axis), in float32.

    Scores are those of `evaluations` (the JSON of `densevit evaluate`, one a run), the mean over cases and structures,
    else those that training wrote into the weights; `metric` names one. ValueError where a run has none.
    """
    if evaluations and len(evaluations) != len(runs):
        raise ValueError(f"there is one evaluation a run, got {len(evaluations)} for {len(runs)} runs")
    device, found = pick_device(device or "cpu"), []
    paths = [Path(run).resolve() for run in runs]
    folders = [path if path.is_dir() else path.parent for path in paths]
    names = name_folders(folders if len(set(folders)) == len(folders) else paths)
    for i, path in enumerate(runs):
        opened = open_checkpoint(path)
        scored = read_score(evaluations[i], metric) if evaluations else _own_score(names[i], opened.header, metric)
        model, rank = build_model(opened), opened.header.spatial_dims
        shape = on_axes(size, rank)
        costs = dict(parameters=sum(p.numel() for p in model.parameters()), macs=count_macs(model, shape).total)
        found.append(Run(names[i], *scored, seconds=time_forward(model.to(device), shape), **costs, size=shape))
        if progress is not None:
            progress.show("measure", i + 1, len(runs))
    return found


@torch.inference_mode()
def time_forward(model: nn.Module, size: Sequence[int]) -> float:
    """Median seconds of a forward of one random image, after two that are not counted; a GPU is waited for."""
    device = next(model.parameters()).device
    image = torch.randn(1, model.in_channels, *size, device=device)
    wait = torch.cuda.synchronize if device.type == "cuda" else (lambda: None)
    seconds: list[float] = []
    for count in range(2 + MOST):
        start = time.perf_counter()
        model(image)
        wait()
        seconds += [time.perf_counter() - start] * (count > 1)
        if len(seconds) >= LEAST and sum(seconds) > LONGEST:
            break
    return median(seconds)


def read_score(path: str | Path, metric: str | None = None) -> tuple[str, float, float, float]:
    """(metric, score, low, high) of what `densevit evaluate` or `densevit test` wrote as JSON: the mean over cases and
    structures, or without cases over the set; shares in percent, nan where there is no interval."""
    content = read_json(Path(path))
    content = content.get("evaluation", content) if isinstance(content, dict) else {}
    means = content.get("means") if isinstance(content, dict) else None
    rows = [row for row in means if isinstance(row, dict)] if isinstance(means, list) else []
    rows = [row for row in rows if row.get("structure") is None and row.get("mean") is not None]
    if not rows:
        raise ValueError(f"{path} is no evaluation; write it with densevit evaluate --json")
    known = list(dict.fromkeys(row["metric"] for row in rows))
    metric = metric or ("dice" if "dice" in known else known[0])
    check_known(metric, known, what=f"{path} has no metric named")
    row = min((row for row in rows if row["metric"] == metric), key=lambda row: row["level"] != "case")
    interval = row.get("interval") or {}
    factor = 100.0 if isfinite(kind_of(metric).worst) else 1.0
    values = [row["mean"], interval.get("low"), interval.get("high")]
    return metric, *(nan if value is None else factor * value for value in values)


def as_csv(runs: Sequence[Run]) -> str:
    """A line for each run."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Run)], lineterminator="\n")
    writer.writeheader()
    rows = (asdict(run) | dict(size=times(run.size)) for run in runs)
    writer.writerows({key: csv_cell("" if value != value else value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _own_score(name: str, header: Header, metric: str | None) -> tuple[str, float, float, float]:
    scores = (header.training or {}).get("scores") or {}
    known = [key for key, value in scores.items() if isinstance(value, int | float)]
    if metric is not None and known:
        check_known(metric, known, what=f"{name} has no score named")
    chosen = metric or next((key for key in SCORES if key in known), None)
    if chosen not in known:
        raise ValueError(f"{name} holds no score of a validation; give its evaluation, the JSON of densevit evaluate")
    return chosen, float(scores[chosen]), nan, nan
