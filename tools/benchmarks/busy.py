"""Training beside other work: iterations a second of the quickstart, when waiting threads sleep and when they spin.

The same short training runs idle and beside busy processes, each run in a process of its own, all in turns. "sleep" is
what the command does (`GOMP_SPINCOUNT`); "spin" is OpenMP's default, as a program has it that imports torch
before the command's code runs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.timing import machine, write_json
from densevit.environment import WAITING
from densevit.synthetic.streets import make_street_scenes
from densevit.tables import format_table

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "configs" / "segformer_b0_synthetic.py"
COMMAND = "import sys; from densevit.cli.main import main; sys.exit(main(sys.argv[1:]))"
WAITS = {"sleep": COMMAND, "spin": f"import torch; {COMMAND}"}
INTERVALS = 4  # of which the first is warming up


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of `busy`."""
    parser.add_argument("--iters", type=int, default=80, help="of each training (80)")
    parser.add_argument("--rounds", type=int, default=2, help="runs of each kind (2)")
    parser.add_argument("--busy", type=int, default=2, metavar="N", help="busy processes beside (2)")
    parser.add_argument("--waits", nargs="+", choices=list(WAITS), default=list(WAITS), help="default both")
    parser.add_argument("--threads", type=int, default=None, metavar="N", help="of torch; default its own choice")
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each way of waiting, idle and busy."""
    kinds = list(product(arguments.waits, sorted({0, arguments.busy})))
    speeds: dict[tuple[str, int], list[float]] = {kind: [] for kind in kinds}
    with TemporaryDirectory() as folder:
        make_street_scenes(Path(folder) / "scenes", num_train=16, num_val=2, size=(128, 256), seed=0)
        for turn, (waits, busy) in product(range(arguments.rounds), kinds):
            with ExitStack() as others:
                for _ in range(busy):
                    others.enter_context(busy_process())
                work = Path(folder) / f"{waits}_{busy}_{turn}"
                speeds[waits, busy].append(iterations_per_second(work, waits, arguments.iters, arguments.threads))
    rows = [
        {"waiting threads": waits, "busy processes": busy, "it/s": round(statistics.median(values), 2)}
        for (waits, busy), values in speeds.items()
    ]
    print(f"{machine()}\n\n{format_table(rows)}")
    write_json(arguments.json, [row | {"all it/s": speeds[kind]} for kind, row in zip(kinds, rows, strict=True)])
    return 0


@contextmanager
def busy_process() -> Iterator[None]:
    """A process that does nothing but keep a core at work, for as long as the block lasts."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def iterations_per_second(work_dir: Path, waits: str, iters: int, threads: int | None) -> float:
    """Train in a new process; the median over all but the first of a few intervals."""
    environment = {key: value for key, value in os.environ.items() if key not in (*WAITING, "OMP_NUM_THREADS")}
    environment["PYTHONPATH"] = str(REPOSITORY)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    root, often = work_dir.parent / "scenes", max(iters // INTERVALS, 1)
    options = {f"{split}_data.dataset.root": root for split in ("train", "val")}
    options |= {f"train_cfg.{key}": iters for key in ("max_iters", "val_interval", "checkpoint_interval")}
    options |= {"train_cfg.log_interval": often, "train_data.num_workers": 0, "visualization.num_images": 0}
    command = [sys.executable, "-c", WAITS[waits], "train", str(CONFIG), "--work-dir", str(work_dir), "--cfg-options"]
    command += [f"{key}={value}" for key, value in options.items()]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"the training failed: {done.stderr.strip()[-2000:]}")
    lines = [json.loads(line) for line in (work_dir / "scalars.jsonl").read_text().splitlines()]
    seconds = [line["seconds_per_iter"] for line in lines if "seconds_per_iter" in line]
    return 1 / statistics.median(seconds[1:] or seconds)
