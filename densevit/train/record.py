"""What a run finds out, written down: scalars.jsonl, mmengine's visual back ends, the best weights, curves."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from densevit.checkpoint.snapshots import best_score, save_best
from densevit.registry import check_known
from densevit.train.folder import CURVES, append_scalars, only_in_file, read_scalars
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

    def open_boards(self, work_dir: Path) -> list[Any]:
        """The back ends, ready for use; ValueError for one that is unknown or whose package is not installed."""
        own = [dict(type="TensorboardVisBackend", save_dir="tensorboard")] if self.tensorboard else []
        return [_open_board(dict(section), work_dir) for section in (*own, *self.backends)]


def _open_board(section: dict[str, Any], work_dir: Path) -> Any:
    from mmengine.registry import VISBACKENDS

    import_module("mmengine.visualization")  # registers them, and takes seconds

    name = section["type"]
    if VISBACKENDS.get(name) is None:
        check_known(name, VISBACKENDS.module_dict, what="visualization.backends: mmengine has no back end named")
    section["save_dir"] = str(work_dir / section.get("save_dir", name))
    try:
        board = VISBACKENDS.build(section)
        _ = board.experiment  # opens it, which imports its package
    except (ImportError, TypeError) as error:
        advice = "; install its package" if isinstance(error, ImportError) else ""
        raise ValueError(f"visualization.backends: {name} cannot be used ({error}){advice}") from None
    return board


class Recorder:
    """Writes what a run finds out; in all processes but the first it does nothing."""

    def __init__(self, work_dir: Path, *, active: bool, boards: Sequence[Any] = (), best: str = "mIoU"):
        self.work_dir, self.active, self.boards, self.best_by = work_dir, active, boards, best
        self.best = best_score(work_dir, by=best) if active else None
        self.scores: dict[str, Any] | None = None

    def add_row(self, row: Mapping[str, Any], *, prefix: str = "train/") -> None:
        """Numbers at `row["iter"]`."""
        if not self.active:
            return
        append_scalars(self.work_dir, row)
        named = {f"{prefix}{name}": value for name, value in row.items() if name != "iter" and value is not None}
        self._show("add_scalar", named, step=row["iter"])

    def _show(self, method: str, named: Mapping[str, Any], *, step: int) -> None:
        """Give every back end something under a name; OSError that names the run's folder, which their own do not."""
        for board in self.boards:
            try:
                for name, value in named.items():
                    getattr(board, method)(name, value, step=step)
            except OSError as error:
                raise OSError(error.errno, error.strerror or str(error), str(self.work_dir)) from error

    def add_validation(self, found: Validation, task: Task, *, iteration: int) -> None:
        """Scores and pictures; the weights too, if no earlier validation had a higher score of the kind in `best`.

        The weights come first: what `add_row` wrote was validated, and a run that is resumed does not do it again.
        """
        self.scores = found.scores
        score = found.scores[self.best_by]
        better = self.active and score is not None and (self.best is None or score > self.best)
        if better:
            header = replace(task.header, training=dict(iteration=iteration, scores=found.means))
            save_best(self.work_dir, weights=task.weights(), header=header)
            self.best = score
        self.add_row(dict(iter=iteration, **found.means), prefix="val/")
        self._show("add_image", {f"val_{i}": image for i, image in enumerate(found.images)}, step=iteration)
        self.say(f"validation at iteration {iteration}\n{found.text}")
        if better:
            logger.info("best %s so far: %.2f", self.best_by, score)

    def say(self, message: str, *, on_terminal: bool = True) -> None:
        """A message for log.txt, and for the terminal."""
        if self.active and on_terminal:
            logger.info("%s", message)
        elif self.active:
            only_in_file(message)

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
        rows = read_scalars(self.work_dir) if self.active else []
        if rows:
            from densevit.report import plot_curves

            plot_curves(rows, self.work_dir / CURVES)
