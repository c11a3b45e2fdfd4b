"""The quickstart: a made set or the user's own, trained and tested as `tools/train.py` and `tools/test.py` do.

It leaves in its folder, beside what every run leaves:

    table.txt  scores.json  curves.png  predictions.png  commands.txt

What differs between street scenes and CT scans is a `Demo`.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from densevit.data import create_dataset
from densevit.files import write_text
from densevit.progress import Bars
from densevit.report import prediction_sheet
from densevit.report.sheet import Row
from densevit.train.config import load_config, replace_options
from densevit.train.run import RunResult, train
from densevit.train.schema import ConfigFile
from densevit.train.score import TestResult, score_checkpoint

Progress = Callable[[int, int], None]  # called with how many are done, of how many


@dataclass(frozen=True)
class Baseline:
    """What a model has to beat.

    `numbers` go into scores.json under `name`; `sentence` compares both scores, `table` shows them class by class.
    """

    name: str
    numbers: Mapping[str, Any]
    sentence: str
    table: str = ""


@dataclass(frozen=True)
class QuickstartResult:
    """What came out; as text, one sentence with both scores."""

    run: RunResult
    tested: TestResult
    baseline: Baseline

    def __str__(self) -> str:
        return self.baseline.sentence


class Demo(Protocol):
    """A made set, and what is shown of a model that was trained on it or on the user's own."""

    root: Path

    def draw(self, *, progress: Progress) -> None:
        """Make the set in `root`, unless it is there in full."""

    def use_own(self, config: ConfigFile, data: str | Path) -> ConfigFile:
        """The config for the user's own set in `data`; ValueError where it is not understood."""

    def baseline(self, train_set: Any, val_set: Any, tested: TestResult) -> Baseline: ...

    def rows(self, val_set: Any, predictions: Sequence[Tensor]) -> list[Row]:
        """Image, truth and prediction of some samples, spread over the set."""

    def predict(self, run: RunResult, val_set: Any, *, out: Path, device: str | None) -> None:
        """Predict a file of `val_set` as a user would, into `out`."""

    def commands(self, run: RunResult, val_set: Any, *, out: Path, iters: int) -> str:
        """The commands that go on from here, one a line."""


def quickstart(
    config: str | Path,
    demo: Demo,
    *,
    out: str | Path,
    data: str | Path | None = None,
    iters: int | None = None,
    device: str | None = None,
) -> QuickstartResult:
    """Train and test the config on the demo's set, drawn if absent, or on the user's own in `data`.

    The config must be one for the layout of the demo's set. ValueError for what the user can mend.
    """
    out, settings = Path(out), load_config(config)
    if data is None:
        with Bars(stream=sys.stdout) as shown:
            demo.draw(progress=lambda done, total: shown.show("draw", done, total))
        roots = dict.fromkeys(("train_data.dataset.root", "val_data.dataset.root"), str(demo.root))
        settings = replace_options(settings, roots | {"test_data": None})
    else:
        settings = demo.use_own(settings, data)
    if iters is not None:
        settings = shorten(settings, iters)
    run = train(settings, work_dir=out, device=device)
    tested, predictions = _test(settings, run, device=device)
    train_set, val_set = (create_dataset(section.dataset) for section in (settings.train_data, settings.val_data))
    result = QuickstartResult(run, tested, demo.baseline(train_set, val_set, tested))
    _write_scores(result, out)
    shown = {key: getattr(val_set, key) for key in ("palette", "classes", "ignore_index")}
    prediction_sheet(demo.rows(val_set, predictions), out / "predictions.png", **shown)
    demo.predict(run, val_set, out=out / "predicted", device=device)
    text = demo.commands(run, val_set, out=out, iters=settings.train_cfg.max_iters)
    write_text(out / "commands.txt", text)
    return result


def _test(config: ConfigFile, run: RunResult, *, device: str | None) -> tuple[TestResult, list[Tensor]]:
    """Scores of the best weights, and the predictions, uint8 (*S), in the order of the set."""
    predictions: list[Tensor] = []
    tested = score_checkpoint(
        config,
        run.best or run.checkpoint,
        device=device,
        on_prediction=lambda sample, labels: predictions.append(labels.cpu().to(torch.uint8)),
    )
    return tested, predictions


def use_sets(config: ConfigFile, *, train: dict[str, Any], val: dict[str, Any]) -> ConfigFile:
    """The config with other data sets, and a model of their classes and channels."""
    opened = create_dataset(train)
    changes = {
        "train_data.dataset": train,
        "val_data.dataset": val,
        "test_data": None,
        "model.num_classes": opened.num_classes,
        "model.in_channels": opened.in_channels,
    }
    return replace_options(config, changes)


def shorten(config: ConfigFile, iters: int) -> ConfigFile:
    """Train for `iters` iterations, with everything that is counted in them in proportion."""
    settings = config.train_cfg
    share = iters / settings.max_iters
    intervals = {key: max(round(getattr(settings, key) * share), 1) for key in ("val_interval", "checkpoint_interval")}
    changes = dict(intervals, max_iters=iters, log_interval=min(settings.log_interval, iters))
    warmup = {"schedule.warmup_iters": round(config.schedule.warmup_iters * share)}
    return replace_options(config, {f"train_cfg.{key}": value for key, value in changes.items()} | warmup)


def spread(count: int, most: int) -> range:
    """At most `most` of `count` samples, spread over all of them."""
    return range(0, count, max(count // most, 1))[:most]


def _write_scores(result: QuickstartResult, out: Path) -> None:
    tested, baseline = result.tested, result.baseline
    parts = [tested.scores.table(tested.classes), baseline.table, baseline.sentence]
    write_text(out / "table.txt", "\n\n".join(part for part in parts if part) + "\n")
    scores = tested.scores.as_dict(tested.classes) | {baseline.name: baseline.numbers}
    write_text(out / "scores.json", json.dumps(scores, indent=1) + "\n")


def this_python() -> Path:
    """The interpreter that runs, from here where it lies below."""
    python = Path(sys.executable)
    return python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
