"""Results on disk: scalars.jsonl, TensorBoard through mmengine's back end, pictures, the best weights, curves."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.visualization import TensorboardVisBackend

from densevit.colors import colorize
from densevit.evaluate.evaluate import Picture
from densevit.train.checkpoint import best_score, save_best
from densevit.train.folder import CURVES, append_scalars, read_scalars
from densevit.train.logs import only_in_file

logger = logging.getLogger("densevit")


class Recorder:
    """Writes what a run finds out; in all processes but the first it does nothing."""

    def __init__(
        self,
        work_dir: Path,
        *,
        active: bool,
        tensorboard: bool,
        palette: Sequence[tuple[int, int, int]],
        ignore_index: int,
        best: str = "mIoU",
    ):
        self.work_dir, self.active = work_dir, active
        self.palette, self.ignore_index = palette, ignore_index
        self.board = TensorboardVisBackend(str(work_dir / "tensorboard")) if tensorboard and active else None
        self.best_by = best
        self.best = best_score(work_dir, by=best) if active else None

    def add_row(self, row: Mapping[str, Any], *, prefix: str = "train/") -> None:
        """Numbers at `row["iter"]`."""
        if not self.active:
            return
        append_scalars(self.work_dir, row)
        for name, value in row.items():
            if self.board is not None and name != "iter" and value is not None:
                self.board.add_scalar(f"{prefix}{name}", value, step=row["iter"])

    def add_pictures(self, pictures: Sequence[Picture], *, iteration: int) -> None:
        """Image, truth and prediction side by side, on TensorBoard."""
        if self.board is None:
            return
        for i, (image, label, prediction) in enumerate(pictures):
            maps = [colorize(part, self.palette, ignore_index=self.ignore_index) for part in (label, prediction)]
            self.board.add_image(f"val/{i}", np.concatenate([image, *maps], axis=1), step=iteration)

    def say(self, message: str, *, on_terminal: bool = True) -> None:
        """A message for log.txt, and for the terminal."""
        if not self.active:
            return
        if on_terminal:
            logger.info("%s", message)
        else:
            only_in_file(message)

    def keep_best(self, runner: Any, *, scores: Mapping[str, Any]) -> None:
        """Save the weights if no earlier validation had a higher score of the kind that `best` names."""
        score = scores[self.best_by]
        if not self.active or score is None or (self.best is not None and score <= self.best):
            return
        means = {name: value for name, value in scores.items() if name != "classes"}
        header = {**runner.header, "training": {"iteration": runner.iter, "scores": means}}
        save_best(self.work_dir, weights=runner.final_weights(), header=header)
        self.best = score
        logger.info("best %s so far: %.2f", self.best_by, score)

    def close(self) -> None:
        """Write out what TensorBoard still holds."""
        if self.board is not None:
            self.board.close()

    def draw_curves(self) -> None:
        """Draw the run so far as curves.png."""
        rows = read_scalars(self.work_dir) if self.active else []
        if rows:
            from densevit.report import plot_curves

            plot_curves(rows, self.work_dir / CURVES)
