"""Logits back on the file's own grid: ours plane by plane, MONAI's and nnU-Net's ways all at once.

Every turn of every system is a process of its own, so that each peak is its own too.
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.peaks import in_own_process
from benchmarks.timing import machine, peak_megabytes, reset_peak, resident_megabytes, write_json
from densevit.blocks import nd
from densevit.inference.native import NativeGrid, Restorer
from densevit.inference.reduce import labels
from densevit.tables import format_table
from tools.peers import import_peer

Restore = Callable[[Tensor], Tensor]  # logits (K, *S) -> labels (*N) uint8
RESAMPLING = "nnunetv2.preprocessing.resampling"
# What is compared -> the grid it is on and the package it needs.
SYSTEMS = {
    "densevit, same extent": ("same extent", "densevit"),
    "nnunet": ("same extent", "nnunetv2"),
    "nnunet, half": ("same extent", "nnunetv2"),
    "nnunet, torch": ("same extent", "nnunetv2"),
    "densevit, same origin": ("same origin", "densevit"),
    "monai": ("same origin", "monai"),
    "monai, float32": ("same origin", "monai"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `benchmark.py native`."""
    parser.add_argument("--size", nargs=3, type=int, default=(192, 192, 160), metavar="N", help="of the logits")
    parser.add_argument("--native-size", nargs=3, type=int, default=(512, 512, 400), metavar="N", help="of the labels")
    parser.add_argument("--classes", type=int, default=24, metavar="N")
    parser.add_argument("--planes", type=int, default=48, metavar="N", help="that ours gets at a time")
    parser.add_argument("--logits", nargs="+", choices=["smooth", "noise"], default=["smooth", "noise"])
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=list(SYSTEMS), metavar="NAME")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each; medians are quoted")
    parser.add_argument("--turn", metavar="FILE", help="used by the benchmark itself: one turn, labels go to FILE")
    parser.add_argument("--json", metavar="FILE")


@torch.inference_mode()
def run(arguments: argparse.Namespace) -> int:
    """Print one table row for each kind of logits and system."""
    if arguments.turn:
        print(json.dumps(_turn(arguments, Path(arguments.turn))))
        return 0
    rows = [row for kind in arguments.logits for row in _compare(kind, arguments)]
    size, native_size = tuple(arguments.size), tuple(arguments.native_size)
    print(f"{machine()}, {arguments.classes} classes, {size} -> {native_size}, median of {arguments.rounds} turns\n")
    print(format_table(rows, style="markdown"))
    write_json(arguments.json, rows)
    return 0


def _compare(kind: str, arguments: argparse.Namespace) -> list[dict]:
    """Rows of all systems that are installed, by turns."""
    systems = [name for name in arguments.systems if find_spec(SYSTEMS[name][1])]
    turns: dict[str, list[dict | None]] = {name: [] for name in systems}
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder) / f"{i}.pt" for i, name in enumerate(systems)}
        for _ in range(arguments.rounds):
            for name in systems:
                turns[name].append(in_own_process(*_command(kind, name, files[name], arguments)))
                sys.stderr.write(f"{kind} {name}: {turns[name][-1]}\n")
        return [_row(kind, name, turns, files) for name in systems]


def _command(kind: str, name: str, file: Path, arguments: argparse.Namespace) -> list[str]:
    sizes = ["--size", *map(str, arguments.size), "--native-size", *map(str, arguments.native_size)]
    counts = ["--classes", str(arguments.classes), "--planes", str(arguments.planes)]
    return ["native", *sizes, *counts, "--logits", kind, "--systems", name, "--turn", str(file)]


def _row(kind: str, name: str, turns: Mapping[str, Sequence[dict | None]], files: Mapping[str, Path]) -> dict:
    """Medians of one system, beside ours on the same grid; a system that ran out of memory has none."""
    grid, ours = SYSTEMS[name][0], f"densevit, {SYSTEMS[name][0]}"
    done = all(turns[name])
    beside_ours = done and ours in turns
    seconds = {system: [turn["seconds"] for turn in turns[system]] for system in (name, ours) if beside_ours}
    megabytes = statistics.median(turn["MB"] for turn in turns[name]) if done else None
    return {
        "logits": kind,
        "grid": grid,
        "system": name,
        "time / ours": statistics.median(a / b for a, b in zip(seconds[name], seconds[ours], strict=True))
        if beside_ours
        else None,
        "seconds": statistics.median(turn["seconds"] for turn in turns[name]) if done else None,
        "added MB": megabytes,
        "same labels": _share_of_equals(files[name], files[ours]) if beside_ours else None,
    }


def _share_of_equals(one: Path, other: Path) -> float:
    return (torch.load(one) == torch.load(other)).double().mean().item()


def _turn(arguments: argparse.Namespace, file: Path) -> dict[str, float] | None:
    """Seconds, and MB beside the logits and the labels; None if the memory does not suffice."""
    name = arguments.systems[0]
    logits = _make_logits(arguments.logits[0], arguments.classes, arguments.size)
    _make(name, (16, 16, 16), (24, 24, 24), planes=8)(logits[:, :16, :16, :16])  # the libraries' one-time work
    restore = _make(name, arguments.size, arguments.native_size, planes=arguments.planes)
    if name == "nnunet, half":
        logits = logits.half()
    _forbid_more_than_there_is()
    reset_peak()
    before, start = resident_megabytes(), time.perf_counter()
    try:
        result = restore(logits)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise
        return None
    seconds = time.perf_counter() - start
    added = peak_megabytes() - before - result.nbytes / 1e6
    torch.save(result, file)
    return {"seconds": seconds, "MB": added}


def _forbid_more_than_there_is() -> None:
    """So that a system that needs more memory fails by itself; Linux only."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) * 1024
    limit = free + int(resident_megabytes() * 1e6)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _make_logits(kind: str, classes: int, size: Sequence[int]) -> Tensor:
    """(K, *S): noise, or noise on a grid 24 times as coarse, interpolated, whose segments are as large as organs."""
    generator = torch.Generator().manual_seed(0)
    if kind == "noise":
        return torch.randn(classes, *size, generator=generator)
    coarse = torch.randn(1, classes, *(max(s // 24, 2) for s in size), generator=generator)
    return nd.resize(coarse, size)[0].contiguous()


def _make(name: str, size: Sequence[int], native_size: Sequence[int], *, planes: int) -> Restore:
    """The system, ready for logits of this size."""
    spacing = [(n - 1) / max(s - 1, 1) for s, n in zip(size, native_size, strict=True)]  # native spacing: 1
    if name.startswith("densevit"):
        grid = NativeGrid.same_extent(native_size, size)
        if name.endswith("origin"):
            grid = NativeGrid.same_origin(native_size, spacing=(1.0,) * 3, working_spacing=spacing)
        return lambda logits: _ours(logits, grid, planes)
    if name.startswith("monai"):
        return _make_monai(native_size, spacing, torch.float32 if name.endswith("float32") else torch.float64)
    return _make_nnunet(native_size, default=not name.endswith("torch"))


def _ours(logits: Tensor, grid: NativeGrid, planes: int) -> Tensor:
    restorer = Restorer(grid, working_size=logits.shape[1:], axis=0, reduce=labels)
    result = torch.empty(grid.size, dtype=torch.uint8)
    for begin in range(0, logits.shape[1], planes):
        for first, part in restorer.push(begin, logits[:, begin : begin + planes]):
            result[first : first + len(part)] = part
    return result


def _make_monai(native_size: Sequence[int], spacing: Sequence[float], dtype: torch.dtype) -> Restore:
    """Its inverse of `Spacing`, as `Invertd` calls it on logits, then `AsDiscrete`."""
    transforms, data = import_peer("monai.transforms"), import_peer("monai.data")
    resample = transforms.Spacing(pixdim=spacing, mode="bilinear", dtype=dtype)
    image = resample(data.MetaTensor(torch.zeros(1, *native_size), affine=torch.eye(4, dtype=torch.float64)))
    history = image.applied_operations

    def restore(logits: Tensor) -> Tensor:
        prediction = data.MetaTensor(logits, affine=image.affine, applied_operations=list(history))
        native = resample.inverse(prediction)
        return transforms.AsDiscrete(argmax=True)(native)[0].as_tensor().to(torch.uint8)

    return restore


def _make_nnunet(native_size: Sequence[int], *, default: bool) -> Restore:
    """What its export calls by default, or its variant with torch, then the largest logit; the same spacing each way,
    so that every axis is interpolated linearly."""
    spacing = (1.0, 1.0, 1.0)
    if default:
        resize = import_peer(f"{RESAMPLING}.default_resampling").resample_data_or_seg_to_shape
        options = dict(is_seg=False, order=1, order_z=0, force_separate_z=None)
        return lambda logits: (
            torch.from_numpy(resize(logits, native_size, spacing, spacing, **options)).argmax(0).byte()
        )
    resize = import_peer(f"{RESAMPLING}.resample_torch").resample_torch_fornnunet
    options = dict(is_seg=False, num_threads=torch.get_num_threads(), force_separate_z=False)
    return lambda logits: resize(logits, native_size, spacing, spacing, **options).argmax(0).byte()
