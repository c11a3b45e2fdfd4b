"""What a run finds out, written down: scalars.jsonl, mmengine's visual back ends, the best weights, curves."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

from densevit.checkpoint.snapshots import best_score, save_best
from densevit.files import about_file, write_text
from densevit.options import check_bools
from densevit.registry import check_known
from densevit.runs.folder import BOARD, CURVES, SCALARS, read_scalars
from densevit.train.task import Task, Validation

logger = logging.getLogger("densevit")


@dataclass(frozen=True, kw_only=True)
class VisualizationOptions:
    """Where scalars and pictures go beside scalars.jsonl, and how many validation images are drawn.

    `tensorboard` writes to the run's folder `tensorboard`; `backends` are further ones of mmengine's registry, such as
    dict(type="WandbVisBackend", init_kwargs=dict(mode="offline")), each in a folder of its name unless it has
    `save_dir`. `visualizer` is the class that mmengine's hooks get, such as dict(type="mmseg.SegLocalVisualizer").
    """

    tensorboard: bool = True
    num_images: int = 4
    backends: tuple[dict[str, Any], ...] = ()
    visualizer: dict[str, Any] = field(default_factory=lambda: dict(type="Visualizer"))

    def __post_init__(self) -> None:
        for i, section in enumerate((*self.backends, self.visualizer)):
            if "type" not in section:
                where = f"backends.{i}" if i < len(self.backends) else "visualizer"
                raise ValueError(f"{where} needs a type, a name of mmengine's registry, got {section}")

    @property
    def num_shown(self) -> int:
        """Images that some back end takes."""
        return self.num_images if self.tensorboard or self.backends else 0

    def open_boards(self, folder: Path) -> list[Any]:
        """The back ends, ready for use; ValueError for one that is unknown or whose package is not installed."""
        own = (dict(type="TensorboardVisBackend", save_dir=BOARD),) if self.tensorboard else ()
        if not own + self.backends:
            return []
        from mmengine.registry import VISBACKENDS

        import_module("mmengine.visualization")  # registers them, and takes seconds
        boards = []
        for section in own + self.backends:
            kind = find_registered(VISBACKENDS, section, where="visualization.backends")
            target = folder / section.get("save_dir", section["type"])
            try:
                boards.append(VISBACKENDS.build(dict(section, save_dir=str(target))))
                _ = boards[-1].experiment  # opens it, which imports its package
            except (ImportError, TypeError) as error:
                advice = "; install its package" if isinstance(error, ImportError) else ""
                raise ValueError(f"visualization.backends: {kind.__name__} cannot be used ({error}){advice}") from None
        return boards


def find_registered(registry: Any, section: Mapping[str, Any], *, where: str) -> Any:
    """The class of mmengine's `registry` that a section names; ValueError for unknown names and bools as numbers."""
    name = section.get("type")
    kind = name if isinstance(name, type) else registry.get(str(name))
    if kind is None:
        check_known(name, registry.module_dict, what=f"{where}: mmengine has no {registry.name} named")
    check_bools(signature(kind).parameters, section, where=f"{where}: {kind.__name__}.")
    return kind


class Recorder:
    """Writes what a run finds out; in all processes but the first it does nothing."""

    def __init__(self, folder: Path, *, active: bool, boards: Sequence[Any] = (), best: str = "mIoU"):
        self.folder, self.active, self.boards, self.best_by = folder, active, boards, best
        self.best = best_score(folder, by=best) if active else None
        self.scores: dict[str, Any] | None = None

    def add_row(self, row: Mapping[str, Any], *, prefix: str = "train/") -> None:
        """Numbers at `row["iter"]`: a line of scalars.jsonl, and under their names for every back end.

        What is no number, such as the scores of classes, is for scalars.jsonl alone.
        """
        if not self.active:
            return
        with about_file(self.folder / SCALARS), open(self.folder / SCALARS, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        numbers = {name: value for name, value in row.items() if isinstance(value, int | float)}
        named = {f"{prefix}{name}": value for name, value in numbers.items() if name != "iter"}
        self._show("add_scalar", named, step=row["iter"])

    def _show(self, method: str, named: Mapping[str, Any], *, step: int) -> None:
        """Give every back end something under a name; OSError that names the run's folder, which their own do not."""
        for board in self.boards:
            try:
                for name, value in named.items():
                    getattr(board, method)(name, value, step=step)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(self.folder)) from error

    def add_validation(self, found: Validation, task: Task, *, iteration: int) -> None:
        """Scores and pictures; the weights too, if no earlier validation had a higher score of the kind in `best`.

        The weights come first: what `add_row` wrote was validated, and a run that is resumed does not do it again.
        """
        self.scores = found.scores
        score = found.scores[self.best_by]
        better = self.active and score is not None and (self.best is None or score > self.best)
        if better:
            header = replace(task.header, training=dict(iteration=iteration, scores=found.means))
            save_best(self.folder, weights=task.weights(), header=header)
            self.best = score
        self.add_row(dict(iter=iteration, **found.scores), prefix="val/")
        self._show("add_image", {f"val_{i}": image for i, image in enumerate(found.images)}, step=iteration)
        logger.info("validation at iteration %d\n%s", iteration, found.text)
        if better:
            logger.info("best %s so far: %.2f", self.best_by, score)

    def was_validated(self, iteration: int) -> bool:
        """Whether the scores at this iteration are among the scalars, or the run ended before they were there."""
        return any(row["iter"] == iteration and "loss" not in row for row in read_scalars(self.folder))

    def close(self, *, quietly: bool = False) -> None:
        """Write out what the back ends still hold; where that fails it is said, unless `quietly`, and ends nothing."""
        for board in self.boards:
            try:
                board.close()
            except OSError as error:
                if not quietly:
                    logger.warning("%s lacks the end of the run: %s", type(board).__name__, error.strerror or error)

    def draw_curves(self) -> None:
        """Draw the run so far as curves.png."""
        rows = read_scalars(self.folder) if self.active else []
        if rows:
            from densevit.report import plot_curves

            plot_curves(rows, self.folder / CURVES)


def truncate_scalars(folder: Path, iteration: int) -> None:
    """Drop what was written after the checkpoint that a run resumes from."""
    rows = [row for row in read_scalars(folder) if row["iter"] <= iteration]
    write_text(folder / SCALARS, "".join(json.dumps(row) + "\n" for row in rows))
