"""Train as a config says, in this process or as one of many."""

import logging
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config

from densevit.checkpoint.snapshots import clean_up, list_snapshots
from densevit.processes import StopSignal, any_process, process_group, rank_and_size
from densevit.progress import Bars
from densevit.runs.folder import CONFIG
from densevit.train.config import check_config, dump_config
from densevit.train.folder import held_warnings, move_earlier_run, only_run_in, run_logging
from densevit.train.loop import Loop
from densevit.train.optim import OptimizerStep, create_optimizer
from densevit.train.origins import differing_normalization, name_origins
from densevit.train.record import Recorder, truncate_scalars
from densevit.train.resume import find_resumption, set_seed
from densevit.train.schema import RunConfig
from densevit.train.task import Task, kind_of
from densevit.weights.files import BEST, WEIGHTS

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class RunResult:
    """What a training run leaves: its folder, the last weights, the best ones, the last validation's scores, if any.

    `stopped` is the signal that ended the run before its last iteration.
    """

    work_dir: Path
    checkpoint: Path
    best: Path | None
    scores: dict[str, Any] | None
    stopped: int | None = None


def train(
    config: RunConfig | Config | Mapping[str, Any],
    *,
    work_dir: str | Path | None = None,
    resume: bool = False,
    launcher: str = "none",
    device: str | None = None,
    progress: bool = True,
) -> RunResult:
    """Train as `config` says, in `work_dir` (default: the config's, else work_dirs/<its name>).

    `resume` continues from the folder's last whole checkpoint, or starts afresh, saying so, where there is none.
    Without it an earlier run in the folder is moved to a folder inside. Raises ValueError for what the user can mend,
    such as a folder in which another run is at work, CheckpointError (an OSError) when a checkpoint cannot be written.
    """
    config = check_config(config)
    folder = Path(work_dir or config.work_dir or Path("work_dirs", config.name))
    with process_group(launcher, device) as chosen, ExitStack() as held:
        set_seed(config.seed)
        first = rank_and_size()[0] == 0
        with held_warnings() as warnings:
            task = kind_of(config.task).open(config, chosen)
            task.header = name_origins(task.header, [report for _, report in task.load_reports])
            if first:
                held.enter_context(only_run_in(folder))
                clean_up(folder)
                if not resume:
                    move_earlier_run(folder)
        any_process(False)  # the others wait here until the folder is ready
        with Bars(enabled=progress and first, stream=sys.stdout) as shown, run_logging(folder, held=warnings):
            return _train(config, task, folder=folder, resume=resume, shown=shown)


def _train(config: RunConfig, task: Task, *, folder: Path, resume: bool, shown: Bars) -> RunResult:
    settings, rank = config.train_cfg, rank_and_size()[0]
    asked = dict(model=task.header.model, settings=task.settings, max_iters=settings.max_iters)
    resumed = find_resumption(folder, **asked) if resume else None
    if rank == 0:
        dump_config(config, folder / CONFIG)
        truncate_scalars(folder, resumed.snapshot.iteration if resumed else 0)
    boards = config.visualization.open_boards(folder) if rank == 0 else []
    recorder = Recorder(folder, active=rank == 0, boards=boards, best=settings.best)
    step = OptimizerStep(
        create_optimizer(task.named_parts(), config.optimizer),
        device=task.device,
        amp=settings.amp,
        accumulate=settings.accumulate,
        clip_grad=settings.clip_grad,
        clip_each=settings.clip_each,
    )
    hooks = None
    if config.custom_hooks:
        from densevit.train.mmengine_hooks import HookRunner  # brings mmengine's runner, which takes seconds to import

        hooks = partial(HookRunner, config=config)
    with StopSignal().listening() as stop:
        loop = Loop(
            task,
            settings,
            schedule=config.schedule,
            step=step,
            recorder=recorder,
            shown=shown,
            stop=stop,
            resumed=resumed,
            hooks=hooks,
        )
        _introduce(config, task)
        set_seed(config.seed + rank, deterministic=settings.deterministic)  # processes draw different noise
        try:
            loop.run()
        except BaseException:
            recorder.close(quietly=True)
            raise
        recorder.close()
    recorder.draw_curves()
    return _result(loop)


def _introduce(config: RunConfig, task: Task) -> None:
    size, settings = rank_and_size()[1], config.train_cfg
    where = f"{task.device} x {size} processes" if size > 1 else str(task.device)
    logger.info("%s, on %s, %s", task, where, settings.amp or "fp32")
    for path, report in task.load_reports:
        logger.info("weights of %s: %s", path, report)
        differing = differing_normalization(report.origin, task.header.normalization)
        if differing:
            logger.warning("%s", differing)
    samples = task.batch_size * settings.accumulate * size
    logger.info("%d samples an iteration, %d iterations, seed %d", samples, settings.max_iters, config.seed)


def _result(loop: Loop) -> RunResult:
    folder, total = loop.recorder.folder, loop.options.max_iters
    stop = loop.stop.received if loop.iteration < total else None
    if stop is not None:
        logger.warning("stopped at iteration %d of %d; continue with --resume", loop.iteration, total)
    best = folder / BEST / WEIGHTS
    return RunResult(
        work_dir=folder,
        checkpoint=list_snapshots(folder)[0].weights,
        best=best if best.is_file() else None,
        scores=loop.recorder.scores,
        stopped=None if stop is None else int(stop),
    )
