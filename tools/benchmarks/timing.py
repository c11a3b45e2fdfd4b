"""Taking turns, and what a turn costs in seconds and bytes."""

import ctypes
import gc
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch


def synchronize(device: str) -> None:
    """Wait for the device's work, so that a host clock times it."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def take_turns(work: Mapping[str, Callable[[], object]], *, rounds: int, device: str) -> dict[str, list[float]]:
    """Run every entry once a round, after one warm-up round: seconds of each, in the order of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(rounds + 1):
        for name, call in work.items():
            synchronize(device)
            start = time.perf_counter()
            call()
            synchronize(device)
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], ours: str) -> dict[str, float]:
    """Median over the rounds of peer / ours: above 1, ours is faster."""
    return {
        name: statistics.median(a / b for a, b in zip(values, seconds[ours], strict=True))
        for name, values in seconds.items()
        if name != ours
    }


def reset_peak() -> None:
    """Give freed memory back and forget the peak so far, so that `peak_megabytes` speaks of what comes; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """The most memory this process has held since `reset_peak`, in MB (10^6 bytes); Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    return kibibytes * 1024 / 1e6


def resident_megabytes() -> float:
    """The memory this process holds now, in MB (10^6 bytes); Linux only."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def machine() -> dict[str, str | int]:
    """What the numbers were measured on."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def write_json(path: str | None, result: object) -> None:
    """Keep the measurements beside the machine they were made on."""
    if path:
        Path(path).write_text(json.dumps({"machine": machine(), "result": result}, indent=1))
