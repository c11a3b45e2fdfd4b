"""The peak of a training step, each in a process of its own, beside what `densevit fingerprint` estimates."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

from benchmarks.timing import machine, write_json
from densevit.doctor.fingerprint.propose import ModelPlanner
from densevit.inference.memory import peak_above
from densevit.tables import format_table

PAIRS = ("swin_unetr_tiny+unetr", "mit_b0+unetr", "mit_b0+all_mlp", "pvt_v2_b0+all_mlp", "vit_tiny+unetr")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py training_memory`."""
    parser.add_argument("--models", nargs="+", default=PAIRS, metavar="BACKBONE+DECODER")
    parser.add_argument("--crop-size", nargs=3, type=int, default=(64, 64, 64), metavar="N")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    """Print estimate, measurement and their ratio: above 1 there was more room than needed."""
    if arguments.one:
        sys.stdout.write(json.dumps(measure(arguments)) + "\n")
        return 0
    rows = []
    for name in arguments.models:
        for batch in arguments.batch_sizes:
            planned = _planner(name, arguments.classes)
            crop = tuple(arguments.crop_size)
            estimate, measured = planned.memory(crop).of(batch), _in_own_process(name, batch, arguments)
            sizes = {"estimate GB": round(estimate / 1e9, 3), "measured GB": round(measured / 1e9, 3)}
            rows.append(dict(model=name, batch=batch) | sizes | dict(ratio=round(estimate / measured, 2)))
    sys.stdout.write(f"{machine()}\n{format_table(rows, style='markdown')}\n")
    write_json(arguments.json, rows)
    return 0


def measure(arguments: argparse.Namespace) -> int:
    """Bytes at the peak of the second step of AdamW, weights and their moments included."""
    device, crop, (batch,) = torch.device(arguments.device), tuple(arguments.crop_size), arguments.batch_sizes
    from densevit import create_segmentor

    with peak_above(device) as peak:
        model = create_segmentor(**_planner(arguments.models[0], arguments.classes).config(crop)).train().to(device)
        optimizer = torch.optim.AdamW(model.parameters())
        image = torch.randn(batch, 1, *crop, device=device)
        label = torch.zeros(batch, *crop, dtype=torch.int64, device=device)
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(model(image), label).backward()
            optimizer.step()
    return peak.bytes


def _planner(name: str, classes: int) -> ModelPlanner:
    backbone, decoder = name.split("+")
    return ModelPlanner(dict(backbone=backbone, decoder=decoder, num_classes=classes, in_channels=1, spatial_dims=3))


def _in_own_process(name: str, batch: int, arguments: argparse.Namespace) -> int:
    program = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), "training_memory", "--one"]
    options = ["--models", name, "--batch-sizes", str(batch), "--device", arguments.device]
    options += ["--classes", str(arguments.classes), "--crop-size", *map(str, arguments.crop_size)]
    done = subprocess.run([*program, *options], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])
