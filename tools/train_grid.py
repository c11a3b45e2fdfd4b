"""Train by several configs, or one config with every backbone and decoder, one after the other: scores side by side.

`python tools/train_grid.py --out DIR [--configs CONFIG ...] [--backbones ...] [--decoders ...] [--seeds 0 1 2]
[--cfg-options K=V ...]`

Each run is a process of its own, and so is its peak of memory. A run that was stopped goes on where it was when the
command is given again, and finished ones are not repeated. After each, DIR/grid.json and DIR/grid.md hold all runs that
are finished in DIR; of runs that differ in their seed alone, the mean of the scores and their deviation.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

from densevit.environment import let_threads_sleep
from densevit.tables import format_table

BACKBONES = ("mit_b0", "pvt_v2_b0", "swin_tiny", "mvit_v2_tiny")
DECODERS = ("all_mlp", "vt_fpn", "uper")
CONFIG = "configs/camvid_short.py"
RESULT = "result.json"
SEED = re.compile(r"_seed\d+$")
TRAIN = Path(__file__).parent / "train.py"


def main() -> int:
    """Train what is not trained yet; returns the exit status of the run that failed or was stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", required=True, metavar="DIR", help="one run folder each, grid.json and grid.md")
    parser.add_argument("--configs", nargs="+", metavar="CONFIG", help=f"default {CONFIG} with a grid of models")
    parser.add_argument("--backbones", nargs="+", metavar="NAME", help="each in place of the config's")
    parser.add_argument("--decoders", nargs="+", metavar="NAME", help="each in place of the config's")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="SEED", help="each run once with each")
    parser.add_argument("--device", help="cpu, cuda, cuda:1; default a GPU where there is one")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    let_threads_sleep()  # in the runs, and before torch is imported
    grid = args.configs is None and args.backbones is None and args.decoders is None
    backbones = args.backbones or (BACKBONES if grid else [None])
    decoders = args.decoders or (DECODERS if grid else [None])
    out = Path(args.out)
    for config, backbone, decoder, seed in product(args.configs or [CONFIG], backbones, decoders, args.seeds or [None]):
        chosen = {"backbone": backbone, "decoder": decoder}
        named = [f"model.{key}={value}" for key, value in chosen.items() if value is not None]
        name = "_".join(filter(None, chosen.values())) or Path(config).stem
        if seed is not None:
            named, name = [*named, f"seed={seed}"], f"{name}_seed{seed}"
        status = run(config, out / name, options=[*named, *args.cfg_options], device=args.device)
        if status:
            return status
        write(out)
    print((out / "grid.md").read_text())
    return 0


def run(config: str, folder: Path, *, options: list[str], device: str | None) -> int:
    """Train one, or what is left of it, and write its row; returns the exit status of the run."""
    from densevit.train import load_config, parse_overrides

    wanted = settings(load_config(config, parse_overrides(options)).to_dict())
    path = folder / RESULT
    if path.is_file() and json.loads(path.read_text())["settings"] == wanted:
        return 0
    print(f"{folder.name}: training", flush=True)
    command = [sys.executable, str(TRAIN), config, "--work-dir", str(folder)]
    command += ["--cfg-options", *options] if options else []
    command += ["--device", device] if device else []
    command += ["--resume"] if (folder / "last_checkpoint").is_file() else []
    process = subprocess.Popen(command)
    _, ended, usage = os.wait4(process.pid, 0)
    status = process.returncode = os.waitstatus_to_exitcode(ended)
    if not status:
        path.write_text(json.dumps(row(folder, usage) | {"settings": wanted}, indent=1) + "\n")
    return status if status >= 0 else 128 - status


def row(folder: Path, usage: Any) -> dict[str, Any]:
    """What a finished run says of itself, and the resources that its process used, which are those since it went on."""
    from densevit.runs.run import open_runs

    (trained,) = open_runs([folder])
    last = trained.scores[-1]
    return {
        "run": folder.name,
        "metric": trained.metric,
        "score": last.value,
        "classes": last.classes,
        "loss": trained.trained[-1]["loss"],
        "seconds_per_iter": statistics.median(line["seconds_per_iter"] for line in trained.trained),
        "peak_gb": usage.ru_maxrss / 2**20,
        "cpu_minutes": (usage.ru_utime + usage.ru_stime) / 60,
        "resumed": trained.resumed,
        **trained.facts(),
    }


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """All of a config that bears on the result, as JSON gives it back."""
    plain = {key: value for key, value in config.items() if key not in ("work_dir", "visualization", "name")}
    return json.loads(json.dumps(plain))


def write(out: Path) -> None:
    """grid.json with everything, grid.md with a table: scores of the last weights, and cost."""
    import torch

    rows = [json.loads(path.read_text()) for path in sorted(out.glob(f"*/{RESULT}"))]
    machine = f"torch {torch.__version__}, {torch.get_num_threads()} threads"
    (out / "grid.json").write_text(json.dumps(dict(rows=rows, machine=machine), indent=1) + "\n")
    several = any(SEED.search(each["run"]) for each in rows)
    shown = [
        {
            "model": (each["run"] if several else each["model"]) or each["run"],
            "iterations": each["iterations"],
            each["metric"]: each["score"],
            "s / iteration": each["seconds_per_iter"],
            "peak, GB": each["peak_gb"],
            "CPU, min": each["cpu_minutes"],
            "M parameters": each["parameters"] / 1e6,
        }
        for each in sorted(rows, key=lambda each: -each["score"])
    ]
    text = f"One line a run, {machine}.\n\n{format_table(shown, style='markdown')}\n"
    if several:
        text += f"\n{format_table(over_seeds(rows), style='markdown')}\n"
    (out / "grid.md").write_text(text)


def over_seeds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean and deviation of the scores of runs that differ in their seed alone."""
    runs: dict[tuple[str, str], list[float]] = {}
    for each in rows:
        runs.setdefault((SEED.sub("", each["run"]), each["metric"]), []).append(each["score"])
    return [
        {
            "run": name,
            "seeds": len(scores),
            f"mean {metric}": statistics.mean(scores),
            "deviation": statistics.stdev(scores) if len(scores) > 1 else None,
        }
        for (name, metric), scores in runs.items()
    ]


if __name__ == "__main__":
    raise SystemExit(main())
