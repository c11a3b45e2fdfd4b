"""Train as a checked config says, in this process or as one of many."""

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from densevit.data import SegmentationDataset
from densevit.data.stream import EvalSet, TrainStream
from densevit.evaluate.evaluate import Evaluation, evaluate
from densevit.losses import create_loss
from densevit.processes import any_process, process_group, rank_and_size, share_buffers
from densevit.progress import Bars
from densevit.segmentor import Segmentor, create_segmentor
from densevit.train import data
from densevit.train.auxiliary import Supervision, create_supervision
from densevit.train.checkpoint import WEIGHTS, clean_up, list_checkpoints
from densevit.train.config.config import check_config, dump_config
from densevit.train.folder import CONFIG, prepare_folder, truncate_scalars
from densevit.train.header import make_header
from densevit.train.hooks import AverageHook, CheckpointHook, ScalarHook, ScoreHook, StopHook, StopSignal
from densevit.train.logs import run_logging
from densevit.train.model import TrainingModel
from densevit.train.record import Recorder
from densevit.train.resume import find_resumption, validation_was_missed
from densevit.train.runner import TrainRunner
from densevit.train.state import set_seed
from densevit.weights import load_weights

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class RunResult:
    """What a training run leaves: its folder, the last weights, the best of them, and the last validation's scores.

    `scores` is `SegmentationScores.as_dict`, or None without a validation; `stopped` is the signal that ended the run
    before its last iteration.
    """

    work_dir: Path
    checkpoint: Path
    best: Path | None
    scores: dict[str, Any] | None
    stopped: int | None = None


def train(
    config: Config | Mapping[str, Any],
    *,
    work_dir: str | Path | None = None,
    resume: bool = False,
    launcher: str = "none",
    device: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train as `config` says, in `work_dir` (default: the config's, else work_dirs/<its file name>).

    `resume` continues from the folder's last whole checkpoint, or starts afresh, saying so, where there is none.
    Without it an earlier run in the folder is moved to a folder inside. Raises ValueError for what the user can mend,
    CheckpointError (an OSError) when a checkpoint cannot be written.
    """
    config = check_config(config, path=getattr(config, "filename", None))
    folder = Path(work_dir or config.work_dir or Path("work_dirs", Path(config.filename or "config").stem))
    with process_group(launcher, device) as chosen:
        parts = _open_parts(config.to_dict())
        first = rank_and_size()[0] == 0
        if first:
            earlier = prepare_folder(folder, keep=resume)
            clean_up(folder)
        any_process(False)  # the others wait here until the folder is ready
        with run_logging(folder), Bars(enabled=progress and first, stream=sys.stdout) as shown:
            if first and earlier is not None:
                logger.warning("%s held an earlier run, moved to %s", folder, earlier.name)
            return _train(config, parts, folder=folder, resume=resume, device=chosen, shown=shown)


@dataclass
class _Parts:
    """What a config describes, opened before the run folder is touched, so that mistakes leave no trace."""

    model: Segmentor
    loss: torch.nn.Module
    supervision: Supervision | None
    stream: TrainStream
    val_set: EvalSet | None

    @property
    def train_set(self) -> SegmentationDataset:
        return self.stream.dataset


def _open_parts(config: dict[str, Any]) -> _Parts:
    stream = data.open_stream(config)
    val_set = None if config["val_data"] is None else data.open_samples(config, "val_data")
    if val_set is not None:
        data.warn_of_shared_cases(stream.dataset, val_set.dataset)
    set_seed(config["seed"])
    model = create_segmentor(**config["model"])
    if config["load_from"] is not None:
        load_weights(model, config["load_from"])
    model.backbone.set_checkpointing(config["train_cfg"]["checkpointing"])
    loss = create_loss(config["loss"], ignore_index=stream.dataset.ignore_index)
    supervision = create_supervision(config, model, ignore_index=stream.dataset.ignore_index)
    return _Parts(model, loss, supervision, stream, val_set)


def _train(
    config: Config, parts: _Parts, *, folder: Path, resume: bool, device: torch.device, shown: Bars
) -> RunResult:
    plain, first = config.to_dict(), rank_and_size()[0] == 0
    header = make_header(plain, parts.train_set)
    resumption = find_resumption(folder, model=header["model"]) if resume else None
    if first:
        dump_config(config, folder / CONFIG)
        truncate_scalars(folder, resumption.checkpoint.iteration if resumption else 0)
    recorder = Recorder(
        folder,
        active=first,
        tensorboard=plain["visualization"]["tensorboard"],
        palette=parts.train_set.palette,
        ignore_index=parts.train_set.ignore_index,
        best=plain["train_cfg"]["best"],
    )
    stop = StopSignal()
    scores = ScoreHook(recorder, classes=tuple(parts.train_set.classes))
    settings = plain["train_cfg"]
    hooks = [StopHook(stop), ScalarHook(recorder, shown, interval=settings["log_interval"]), scores]
    hooks += [CheckpointHook(interval=settings["checkpoint_interval"])]
    hooks += [] if settings["ema"] is None else [AverageHook(settings["ema"])]
    runner = TrainRunner(
        TrainingModel(parts.model, parts.loss, parts.supervision),
        config=plain,
        header=header,
        work_dir=folder,
        device=device,
        loader=data.train_loader(
            parts.stream, plain, first_draw=resumption.state["draws"] if resumption else 0, device=device
        ),
        validate=None if parts.val_set is None else _validation(plain, parts.val_set, stop=stop, shown=shown),
        hooks=hooks,
    )
    if resumption is not None:
        runner.resumption = resumption
        runner.validate_first = validation_was_missed(folder, plain, resumption)
    _introduce(plain, parts, device)
    try:
        with stop.listening():
            runner.train()
    finally:
        recorder.close()
    recorder.draw_curves()
    return _result(folder, scores.scores, stop=stop, runner=runner)


def _validation(
    config: dict[str, Any], samples: EvalSet, *, stop: StopSignal, shown: Bars
) -> Callable[[TrainRunner], Evaluation | None]:
    """The function that scores a runner's model on the validation set."""

    def on_image(done: int, total: int) -> bool:
        shown.show("validate", done, total)
        return stop.received is not None and rank_and_size()[1] == 1  # several processes would have to agree

    def validate(runner: TrainRunner) -> Evaluation | None:
        share_buffers(runner.final_model)
        try:
            return evaluate(
                runner.final_model,
                samples,
                inference=config["inference"],
                device=runner.device,
                num_workers=config["val_data"]["num_workers"],
                num_pictures=config["visualization"]["num_images"],
                on_image=on_image,
            )
        finally:
            shown.hide("validate")

    return validate


def _introduce(config: dict[str, Any], parts: _Parts, device: torch.device) -> None:
    size, settings, section = rank_and_size()[1], config["train_cfg"], config["train_data"]
    count = sum(p.numel() for p in parts.model.parameters())
    logger.info(
        "%s + %s, %.2f M parameters, on %s%s, %s",
        config["model"]["backbone"],
        config["model"]["decoder"],
        count / 1e6,
        device,
        f" x {size} processes" if size > 1 else "",
        settings["amp"] or "fp32",
    )
    logger.info(
        "%d training images, %s for validation, %d samples an iteration, %d iterations, seed %d",
        len(parts.train_set),
        "none" if parts.val_set is None else len(parts.val_set),
        section["batch_size"] * settings["accumulate"] * size,
        settings["max_iters"],
        config["seed"],
    )


def _result(folder: Path, scores: dict[str, Any] | None, *, stop: StopSignal, runner: TrainRunner) -> RunResult:
    checkpoints = list_checkpoints(folder)
    best = folder / "best" / WEIGHTS
    if stop.received is not None and runner.iter < runner.max_iters:
        logger.warning("stopped at iteration %d of %d; continue with --resume", runner.iter, runner.max_iters)
    return RunResult(
        work_dir=folder,
        checkpoint=checkpoints[0].weights,
        best=best if best.is_file() else None,
        scores=scores,
        stopped=None if stop.received is None or runner.iter >= runner.max_iters else int(stop.received),
    )
