"""One whole volume, many classes, labels out: seconds and peak memory, each system in a process of its own."""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import densevit
from benchmarks.timing import machine, peak_megabytes, reset_peak, resident_megabytes, write_json
from densevit.environment import keep_freed_memory
from densevit.inference import accelerate, plan_windows, sliding_window
from densevit.tables import format_table
from tools.peers import import_peer

SYSTEMS = ("densevit", "monai", "monai buffered", "monai host")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py volume`."""
    parser.add_argument("--size", nargs=3, type=int, default=(512, 512, 600), metavar="N", help="voxels of the volume")
    parser.add_argument("--lengths", nargs="+", type=int, metavar="N", help="several sizes of the last axis")
    parser.add_argument("--classes", nargs="+", type=int, default=[105])
    parser.add_argument("--roi-size", type=int, default=128, metavar="N")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--network", default="free", help="free (a 1x1 convolution), or BACKBONE+DECODER")
    parser.add_argument(
        "--systems", nargs="+", default=["densevit"], choices=SYSTEMS, help="monai host: sums on the CPU"
    )
    parser.add_argument("--amp", nargs="+", default=["none"], choices=("none", "bf16", "fp16"))
    parser.add_argument("--compile", nargs="+", default=["none"], help="none, or modes of torch.compile")
    parser.add_argument("--batch-size", type=int, default=1, help="windows in one forward")
    parser.add_argument("--max-memory", help="for densevit's plan, such as 8GB")
    parser.add_argument(
        "--limit-gb", type=float, help="more memory than this is refused to a process, as on a smaller machine"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--json", metavar="FILE")


def run(arguments: argparse.Namespace) -> int:
    """Print one row for each volume, system and mode."""
    if arguments.one:
        job = argparse.Namespace(**json.loads(arguments.one))
        with keep_freed_memory() if job.system == "densevit" else nullcontext():  # as the command does
            print(json.dumps(_measure(job)))
        return 0
    rows = [_in_own_process(job) for job in _jobs(arguments)]
    print(f"{machine()}\n")
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, rows)
    return 0


def _jobs(arguments: argparse.Namespace) -> list[dict]:
    shared = {key: getattr(arguments, key) for key in ("roi_size", "overlap", "network", "batch_size", "device")}
    shared |= {"max_memory": arguments.max_memory, "limit_gb": arguments.limit_gb}
    modes = [(amp, mode) for amp in arguments.amp for mode in arguments.compile]
    return [
        dict(shared, size=[*arguments.size[:2], length], classes=classes, system=system, amp=amp, compile=mode)
        for length in arguments.lengths or arguments.size[2:]
        for classes in arguments.classes
        for system in arguments.systems
        for amp, mode in modes
        if system == "densevit" or find_spec("monai")
    ]


def _in_own_process(job: dict) -> dict:
    program = [sys.executable, str(Path(__file__).parents[1] / "benchmark.py"), "volume", "--one", json.dumps(job)]
    done = subprocess.run(program, capture_output=True, text=True)
    sys.stderr.write(done.stderr)  # the plan, or what went wrong
    row = {
        "size": "x".join(map(str, job["size"])),
        **{key: job[key] for key in ("classes", "system", "amp", "compile")},
    }
    empty = dict.fromkeys(("s", "network s", "network share", "peak MB", "planned MB", "peak / planned"))
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"killed by signal {-done.returncode}"
        measured = {**empty, "error": last[:80]}
    else:
        measured = {**empty, **json.loads(done.stdout.splitlines()[-1]), "error": None}
    sys.stderr.write(f"{row | measured}\n")
    return row | measured


@torch.inference_mode()
def _measure(job: argparse.Namespace) -> dict:
    """In this process, which should be fresh: seconds, and memory beyond image and model."""
    if job.limit_gb:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(job.limit_gb * 1e9),) * 2)
    torch.manual_seed(0)
    network = Clock(_network(job), job.device)
    image = torch.randn(1, *job.size)  # on the host, as a file would be
    window = image[:, : job.roi_size, : job.roi_size, : job.roi_size][None].to(job.device)
    network(window)
    plan = None
    if job.system == "densevit":
        windows = dict(roi_size=job.roi_size, overlap=job.overlap, batch_size=job.batch_size)
        places = dict(new_tensor=False, window_device=job.device, max_memory=job.max_memory)
        plan = plan_windows(network, image, **windows, **places)
        sys.stderr.write(f"{plan}\n")
    out = np.zeros(job.size, np.uint8)
    work = _system(job, network, image, out, {} if plan is None else plan.options)
    network.seconds = 0.0
    before = _start(job.device)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    peak = _peak(job.device, before)
    planned = plan and (sum(plan.device_bytes.values()) if job.device != "cpu" else plan.peak_bytes) / 1e6
    return {
        "s": seconds,
        "network s": network.seconds,
        "network share": network.seconds / seconds,
        "peak MB": peak,
        "planned MB": planned,
        "peak / planned": planned and peak / planned,
    }


class Clock(nn.Module):
    """Adds up the seconds of a network's forwards."""

    def __init__(self, network: Callable[[Tensor], Tensor], device: str):
        super().__init__()
        self.network, self.device, self.seconds = network, torch.device(device), 0.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, *S) -> (B, K, *S)."""
        if self.device.type == "cuda":  # for the share; waiting costs what would have overlapped
            torch.cuda.synchronize()
        start = time.perf_counter()
        logits = self.network(x)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - start
        return logits


def _network(job: argparse.Namespace) -> Callable[[Tensor], Tensor]:
    if job.network == "free":
        model: nn.Module = nn.Conv3d(1, job.classes, 1)
    else:
        backbone, decoder = job.network.split("+")
        model = densevit.create_segmentor(backbone, decoder, num_classes=job.classes, spatial_dims=3, in_channels=1)
    modes = {key: None if value == "none" else value for key, value in (("amp", job.amp), ("compile", job.compile))}
    return accelerate(model.eval().to(job.device), **modes)


def _system(
    job: argparse.Namespace, network: nn.Module, image: Tensor, out: np.ndarray, plan: dict
) -> Callable[[], object]:
    if job.system == "densevit":
        options = dict(roi_size=job.roi_size, overlap=job.overlap, fixed_batch=job.compile != "none", **plan)
        return lambda: sliding_window(network, image, reduce="labels", out=out, window_device=job.device, **options)
    monai = import_peer("monai.inferers")
    options = dict(roi_size=(job.roi_size,) * 3, sw_batch_size=job.batch_size, overlap=job.overlap, mode="gaussian")
    options |= dict(sw_device=job.device, device="cpu" if job.system == "monai host" else job.device)
    if job.system == "monai buffered":
        options |= dict(device="cpu", buffer_steps=1, buffer_dim=-1)

    def work() -> None:
        logits = monai.sliding_window_inference(image[None], predictor=network, **options)
        out[:] = logits[0].argmax(0).to(torch.uint8).cpu().numpy()

    return work


def _start(device: str) -> float:
    if device == "cpu":
        reset_peak()
        return resident_megabytes()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated() / 1e6


def _peak(device: str, before: float) -> float:
    return (peak_megabytes() if device == "cpu" else torch.cuda.max_memory_allocated() / 1e6) - before
