"""The device of a process, and joining the other processes of a run: torchrun, Slurm or MPI, on GPUs or CPUs.

mmengine's launchers select a GPU even where there is none; these do not (docs/decisions/mmengine_edge.md).
"""

import gc
import logging
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread
from types import FrameType

import torch
import torch.distributed as dist

logger = logging.getLogger("densevit")

# Where each launcher says: rank, number of processes, rank on this machine.
VARIABLES = {
    "pytorch": ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}
LAUNCHERS = ("none", *VARIABLES)


def pick_device(device: str | torch.device | None = None, local_rank: int = 0) -> torch.device:
    """The named device; without a name this process's GPU, or the CPU where there is none.

    "cuda" without a number is this process's GPU too, where the `local_rank` processes of a machine share its GPUs in
    turn. ValueError for a device that is not there.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ValueError(f"no device named {device!r}; cpu, cuda, cuda:1 and mps are names of devices") from None
    count = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}.get(chosen.type, 1)
    if (chosen.index or 0) >= count:
        raise ValueError(f"the device {str(chosen)!r} is not on this machine; choose cpu or another one")
    if chosen.type == "cuda" and chosen.index is None:
        return torch.device("cuda", local_rank % count)
    return chosen


@contextmanager
def process_group(launcher: str, device: str | None = None) -> Iterator[torch.device]:
    """Join the group that `launcher` started, for as long as the block lasts; gives the device of this process."""
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher must be one of {', '.join(LAUNCHERS)}, got {launcher!r}")
    if launcher == "none" or in_group():
        yield pick_device(device)
        return
    rank, size, local_rank = launched_as(launcher)
    chosen = pick_device(device, local_rank)
    if chosen.type == "cuda":
        count = torch.cuda.device_count()
        if local_rank >= count:
            raise ValueError(f"more than {count} processes for {count} GPUs; start fewer, or add --device cpu")
        torch.cuda.set_device(chosen)
    # Small messages between processes (stop signals, random states) go over the CPU and never wait for a GPU.
    backend = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=_meeting_point(launcher), rank=rank, world_size=size)
    try:
        yield chosen
    finally:
        # A DDP model that outlives its group, in a reference cycle of the runner, aborts the process as it exits.
        gc.collect()
        dist.destroy_process_group()


def launched_as(launcher: str) -> tuple[int, int, int]:
    """This process's number, how many there are, and its number on this machine; (0, 1, 0) without a launcher."""
    if launcher == "none":
        return 0, 1, 0
    missing = [name for name in VARIABLES[launcher] if name not in os.environ]
    if missing:
        raise ValueError(
            f"--launcher {launcher} expects the variable {missing[0]} in the environment; "
            "start with tools/dist_train.sh, srun or mpirun, or leave --launcher out"
        )
    rank, size, local_rank = (int(os.environ[name]) for name in VARIABLES[launcher])
    return rank, size, local_rank


def _meeting_point(launcher: str) -> str:
    """Where the processes find one another, in torch's words."""
    host = os.environ.get("MASTER_ADDR") or "127.0.0.1"
    if launcher == "slurm" and not os.environ.get("MASTER_ADDR"):
        command = ["scontrol", "show", "hostnames", os.environ["SLURM_NODELIST"]]
        host = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n", 1)[0]
    return f"tcp://{f'[{host}]' if ':' in host else host}:{os.environ.get('MASTER_PORT', '29500')}"


def in_group() -> bool:
    """Whether this process has joined others, by `process_group` or by a group of the caller's own."""
    return dist.is_available() and dist.is_initialized()


def rank_and_size() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) outside a group."""
    return (dist.get_rank(), dist.get_world_size()) if in_group() else (0, 1)


def any_process(*flags: bool) -> list[bool]:
    """For each flag, whether any process raised it; every process must call this."""
    if not in_group():
        return list(flags)
    tensor = torch.tensor(flags, dtype=torch.uint8)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return [bool(flag) for flag in tensor]


def distribute(module: torch.nn.Module, device: torch.device, *, sync_bn: bool = False) -> torch.nn.Module:
    """The module on its device, in a group of processes inside DDP; `sync_bn` synchronises batch norms on GPUs."""
    module = module.to(device)
    if not in_group():
        return module
    if sync_bn and device.type == "cuda":
        module = torch.nn.SyncBatchNorm.convert_sync_batchnorm(module)
    return torch.nn.parallel.DistributedDataParallel(module)


def share_buffers(module: torch.nn.Module) -> None:
    """Give every process the first one's buffers: batch norm counts apart where it is not synchronised."""
    if in_group():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def mean_of_processes(value: torch.Tensor) -> torch.Tensor:
    """The mean of every process's tensor, on every process."""
    if in_group():
        dist.all_reduce(value)
        value = value / dist.get_world_size()
    return value


def gather(value: object) -> list:
    """Every process's value, in the order of ranks, on every process."""
    if not in_group():
        return [value]
    values: list = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


class StopSignal:
    """Remembers SIGTERM and SIGINT while its block lasts; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        logger.warning("%s received: saving after this iteration, then stopping", self.received.name)

    @contextmanager
    def listening(self) -> Iterator["StopSignal"]:
        """Handle the signals in this block; Python lets only the main thread do so."""
        numbers = (signal.SIGTERM, signal.SIGINT) if current_thread() is main_thread() else ()
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
