"""Memory of the device that a network runs on: what is free, and what a piece of work adds at its peak."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from densevit.environment import give_back_freed_memory


@dataclass
class Peak:
    """`bytes` is known when the work is done, and stays 0 where it cannot be measured."""

    bytes: int = 0


@contextmanager
def peak_above(device: torch.device) -> Iterator[Peak]:
    """Measure what the block adds to the memory in use: torch's own count on a GPU, the process's on Linux."""
    peak = Peak()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
    elif device.type == "cpu" and _forget_peak():
        before = resident_bytes()
        yield peak
        peak.bytes = max(_stated("/proc/self/status", "VmHWM") - before, 0)
    else:
        yield peak


def available_bytes(device: torch.device) -> int:
    """Bytes that can be allocated without displacing other programs; on a CPU, limits of the container count too."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if sys.platform != "linux":
        return 2**33
    return min(_stated("/proc/meminfo", "MemAvailable"), _container_bytes())


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out: on the CPU torch raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def resident_bytes() -> int:
    """The memory that this process holds now; Linux only."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _forget_peak() -> bool:
    """Give freed memory back and start counting the process's peak anew; False where that is not possible."""
    if sys.platform != "linux":
        return False
    give_back_freed_memory()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _stated(file: str, key: str) -> int:
    """Bytes of a line such as "VmHWM: 16 kB" of a file in /proc."""
    return int(re.search(rf"^{key}:\s*(\d+) kB", Path(file).read_text(), re.MULTILINE)[1]) * 1024


def _container_bytes() -> int:
    """Bytes that the control group leaves to this process, with those of cached files, which give way."""
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        cached = re.search(r"^inactive_file (\d+)", (group / "memory.stat").read_text(), re.MULTILINE)
        return max(limit - used + int(cached[1]), 0)
    except (OSError, ValueError, TypeError):  # no such group, or its limit is "max"
        return sys.maxsize
