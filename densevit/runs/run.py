"""A training run as its folder tells it: what was trained, how far it came, what it scored, and how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import Any

from densevit.checkpoint import Header, find_weights
from densevit.files import sha256
from densevit.runs.folder import (
    CLASSES,
    CONFIG,
    LOG,
    MOST,
    is_run,
    is_running,
    read_scalars,
    read_settings,
    section,
)
from densevit.runs.log import read_beginning, read_end, read_resumptions
from densevit.weights import read_config, tell_origins


@dataclass(frozen=True)
class Score:
    """The value of a score, in percent, at an iteration; `classes` are those of single classes, by name and score."""

    value: float
    iteration: int
    classes: Mapping[str, Mapping[str, float | None]] | None


@dataclass(frozen=True)
class Run:
    """`settings` is its config, `rows` are its scalars in order, `log` is its log's text, `header` that of its weights.

    What is None, or missing in `facts`, the folder does not say. `remarks` are sentences on what could not be read.
    """

    folder: Path
    name: str
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]]
    log: str = ""
    header: Header | None = None
    running: bool = False
    remarks: Sequence[str] = field(default_factory=tuple)

    @property
    def metric(self) -> str:
        """The score by which the best weights are chosen."""
        return str(section(self.settings, "train_cfg", "best") or "mIoU")

    @cached_property
    def begun(self) -> Mapping[str, str]:
        """What the log says of the last beginning."""
        return read_beginning(self.log)

    @property
    def resumed(self) -> list[int]:
        """The iterations from which it went on."""
        return read_resumptions(self.log)

    @property
    def trained(self) -> list[Mapping[str, Any]]:
        """The rows of iterations, without those of validations."""
        return [row for row in self.rows if "loss" in row]

    @property
    def validated(self) -> list[Mapping[str, Any]]:
        """The rows of validations."""
        return [row for row in self.rows if "loss" not in row]

    @property
    def scores(self) -> list[Score]:
        """The scores by which the best weights are chosen."""
        return self.scores_by(self.metric)

    @property
    def best(self) -> Score | None:
        """The score of the best weights."""
        return _highest(self.scores)

    def scores_by(self, metric: str) -> list[Score]:
        """Of each validation that has this one."""
        rows = [row for row in self.validated if is_number(row.get(metric))]
        return [Score(row[metric], row["iter"], row.get(CLASSES)) for row in rows]

    @property
    def classes(self) -> tuple[str, ...] | None:
        named = next((score.classes for score in reversed(self.scores) if score.classes), None)
        return tuple(named) if named else None if self.header is None else self.header.classes

    @property
    def iterations(self) -> int:
        """How many were finished, as far as scalars say."""
        return max((row["iter"] for row in self.rows), default=0)

    @property
    def planned(self) -> int | None:
        found = section(self.settings, "train_cfg", "max_iters")
        return found if isinstance(found, int) and 0 < found < MOST else None

    @property
    def is_finished(self) -> bool:
        return self.planned is not None and self.iterations >= self.planned

    @property
    def state(self) -> str:
        """One phrase: finished, or how far it came and why it ended."""
        so_far = f"{self.iterations:,}" if self.planned is None else f"{self.iterations:,} of {self.planned:,}"
        failure, stopped = read_end(self.log)
        if self.running:
            return f"still running, {so_far}"
        if failure is not None:
            return f"failed at {so_far}: {failure}"
        if self.is_finished:
            asked = section(self.settings, "val_data") is not None
            there = any(row["iter"] == self.iterations for row in self.validated)
            return "finished" if there or not asked else "finished, but its last weights were not validated"
        if stopped:
            return f"stopped by a signal at {so_far}"
        return f"ended at {so_far}, and its log does not say why"

    @property
    def seconds(self) -> float | None:
        """Of all iterations that were logged, validation and saving left out."""
        total, before = 0.0, 0
        for row in self.trained:
            if not is_number(row.get("seconds_per_iter")):
                return None
            total += row["seconds_per_iter"] * (row["iter"] - before)
            before = row["iter"]
        return total if before else None

    def facts(self, metrics: Sequence[str] = ()) -> dict[str, str | int | float | None]:
        """What stands in a table of runs, by its words there, with these scores and that of the best weights; None for
        what the folder does not say.
        """
        begun, seconds = self.begun, self.seconds
        memory = [row["memory_gb"] for row in self.trained if is_number(row.get("memory_gb"))]
        model = [section(self.settings, "model", part) for part in ("backbone", "decoder")]
        return {
            "state": self.state,
            "model": " + ".join(str(part) for part in model if part is not None) or None,
            "parameters": float(begun["parameters"]) * 1e6 if begun else None,
            "iterations": self.iterations,
            **self._of_scores(metrics or [self.metric]),
            "seed": section(self.settings, "seed"),
            "training time": seconds,
            "s/iteration": seconds / self.trained[-1]["iter"] if seconds else None,
            "peak memory, GB": max(memory, default=None),
            "device": f"{begun['device']}, {begun['precision']}" if begun else None,
            "training images": int(begun["train"]) if begun else None,
            "validation images": int(begun["val"]) if begun.get("val", "none") != "none" else None,
            "resumed at": ", ".join(map(str, self.resumed)) or ("never" if begun else None),
            "started from": None if self.header is None else tell_origins(self.header.started_from),
            "densevit": self.header.version if self.header else None,
            "config": sha256(self.folder / CONFIG)[:12],
        }

    def _of_scores(self, metrics: Sequence[str]) -> dict[str, float | None]:
        """The highest, the first of several, and the last of each, with their iterations."""
        found: dict[str, float | None] = {}
        for metric in metrics:
            scores = self.scores_by(metric)
            for which, score in ("best", _highest(scores)), ("last", scores[-1] if scores else None):
                found[f"{which} {metric}"] = score.value if score else None
                found[f"{which} {metric} at"] = score.iteration if score else None
        return found


def _highest(scores: Sequence[Score]) -> Score | None:
    return max(scores, key=lambda score: score.value, default=None)


def is_number(value: Any) -> bool:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and isfinite(value)


def open_runs(folders: Sequence[str | Path]) -> list[Run]:
    """Read the folders of runs, each once; ValueError for one that is none."""
    paths = [Path(folder) for folder in folders]
    for path in paths:
        _check_run(path)
    resolved = [path.resolve() for path in paths]
    twice = next((path for i, path in enumerate(paths) if resolved[i] in resolved[:i]), None)
    if twice is not None:
        raise ValueError(f"{twice} was given twice; give each run once")
    return [_open(path, name) for path, name in zip(paths, name_folders(resolved), strict=True)]


def _check_run(path: Path) -> None:
    if is_run(path):
        return
    inside = sorted(each.name for each in path.iterdir() if is_run(each)) if path.is_dir() else []
    if inside:
        some = ", ".join(inside[:5]) + ", ..." * (len(inside) > 5)
        raise ValueError(f"{path} is no run, but runs lie in it; give them by themselves: {path}/* or some of {some}")
    what = "holds no run" if path.is_dir() else "is a file" if path.exists() else "does not exist"
    raise ValueError(f"{path} {what}; give a folder that densevit train wrote, with its {CONFIG} and scalars.jsonl")


def name_folders(paths: Sequence[Path]) -> list[str]:
    """The names of folders, with as many of those above as tell them apart."""
    for length in range(1, max((len(path.parts) for path in paths), default=2)):
        names = [str(Path(*path.parts[-length:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _open(folder: Path, name: str) -> Run:
    log, remarks, header = folder / LOG, [], None
    try:
        weights = find_weights(folder)
        header = Header.read(read_config(weights), weights)
    except FileNotFoundError:
        remarks.append("it holds no weights")
    except (ValueError, OSError) as error:
        remarks.append(f"its weights cannot be used: {error}")
    return Run(
        folder=folder,
        name=name,
        settings=read_settings(folder),
        rows=_without_overwritten(read_scalars(folder)),
        log=log.read_text(encoding="utf-8", errors="replace") if log.is_file() else "",
        header=header,
        running=is_running(folder),
        remarks=tuple(remarks),
    )


def _without_overwritten(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A run that went on from an earlier iteration writes the later ones anew, and those count."""
    kept: list[Mapping[str, Any]] = []
    for row in rows:
        if kept and row["iter"] < kept[-1]["iter"]:
            kept = [each for each in kept if each["iter"] < row["iter"]]
        kept.append(row)
    return kept
