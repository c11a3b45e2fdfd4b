"""Where results are written, block by block: a tensor, an array, a memory map, a Zarr array, or a new file."""

import json
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.files import replacing
from densevit.inference.source import forget_pages
from densevit.labels import label_type

ENDINGS = (".npy", ".zarr")


class Output:
    """Results written block by block, which appear whole or not at all: `with Output(...) as out: out.write(...)`.

    `target` is None for a new tensor on `device`; anything with a shape that takes `target[slices] = array`; or a path
    ending in .npy or .zarr, written beside and renamed into place when all is done. `size` is (*S) of the result.
    A thread stores what is handed over while the next windows run.
    """

    def __init__(self, target: Any, *, size: Sequence[int], device: torch.device):
        self.target = target
        self.size = tuple(size)
        self.device = device
        self.largest: int | None = None  # the largest whole number that results may hold, where that is known
        self.result: Any = None
        self.path = Path(target) if isinstance(target, str | Path) else None
        self.files = ExitStack()  # which gives the file its name, or removes it
        self.pool = ThreadPoolExecutor(1)
        self.waiting: Future | None = None
        if self.path is not None:
            _check_path(self.path)
        elif target is not None:
            _check_array(target, self.size)

    def __enter__(self) -> "Output":
        return self

    def write(self, begin: Sequence[int], part: Tensor) -> None:
        """A block of the result, (*S) or (J, *S), which begins at voxel `begin`."""
        if self.result is None:
            self._open(part)
        channels = part.ndim - len(self.size)
        blocks = (slice(b, b + n) for b, n in zip(begin, part.shape[channels:], strict=True))
        place = (*[slice(None)] * channels, *blocks)
        if isinstance(self.result, Tensor):
            self.result[place] = part
            return
        self._wait()
        self.waiting = self.pool.submit(self._store, place, *_to_host(part, self._dtype(part)))

    def _wait(self) -> None:
        """Until what was handed over is written; raises what went wrong there."""
        if self.waiting is not None:
            self.waiting.result()
            self.waiting = None

    def _open(self, part: Tensor) -> None:
        shape = (*part.shape[: part.ndim - len(self.size)], *self.size)
        if self.target is None:
            self.result = torch.empty(shape, dtype=part.dtype, device=self.device)
        elif self.path is None:
            _check_takes(self.target, shape, part.dtype, self.largest)
            self.result = self.target
        else:
            aside = self.files.enter_context(replacing(self.path))
            self.result = _new_file(aside, shape, torch.empty(0, dtype=self._dtype(part)).numpy().dtype)

    def _dtype(self, part: Tensor) -> torch.dtype:
        """The smallest type that holds the results: labels come as int64, and arrays know no bfloat16."""
        if part.dtype == torch.bfloat16:
            return torch.float32
        if self.largest is None or part.dtype != torch.int64:
            return part.dtype
        return getattr(torch, label_type(self.largest + 1).name)

    def _store(self, place: tuple[slice, ...], part: Tensor, copied: "torch.cuda.Event | None") -> None:
        if copied is not None:
            copied.synchronize()
        self.result[place] = part.numpy()
        forget_pages(self.result)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self.files, self.pool:
            if error is not None:
                raise error
            self._wait()
            if self.path is not None and self.result is not None:
                self.result = self.path


def _to_host(part: Tensor, dtype: torch.dtype) -> "tuple[Tensor, torch.cuda.Event | None]":
    """A copy that stays as it is while the next windows run; on a GPU one that is still under way."""
    copy = part.to(dtype, copy=True)
    if not copy.is_cuda:
        return copy, None
    host = torch.empty(copy.shape, dtype=dtype, pin_memory=True)
    host.copy_(copy, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return host, copied


def _check_path(path: Path) -> None:
    """Refuse, before the network runs, a path that cannot take the results."""
    if path.suffix not in ENDINGS:
        raise ValueError(f"out={str(path)!r} must end in {' or '.join(ENDINGS)}; for other files give an array")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise PermissionError(f"out={str(path)!r} cannot be written: {path.parent} is no folder that takes files")
    if path.exists() and not (path.is_file() if path.suffix == ".npy" else _is_zarr_array(path)):
        raise ValueError(f"out={str(path)!r} is there and holds something else than one array; give another name")


def _check_array(target: Any, size: tuple[int, ...]) -> None:
    """Refuse, before the network runs, an array that cannot take the results."""
    shape = tuple(getattr(target, "shape", ()))
    if shape[len(shape) - len(size) :] != size or len(shape) > len(size) + 1 or not hasattr(target, "__setitem__"):
        raise ValueError(f"out has the shape {shape}, and results have {size} or (J, {', '.join(map(str, size))})")
    flags = getattr(target, "flags", None)
    if getattr(target, "read_only", False) or (flags is not None and not flags.writeable):
        raise ValueError("out is read-only; open it for writing (mode 'r+')")


def _check_takes(target: Any, shape: tuple[int, ...], dtype: torch.dtype, largest: int | None) -> None:
    if tuple(target.shape) != shape:
        raise ValueError(f"out has the shape {tuple(target.shape)}, and the results have {shape}; make one like that")
    floating, most = _range_of(target.dtype)
    if dtype.is_floating_point and not floating:
        raise ValueError(f"out holds {target.dtype}, and the results are {dtype}; make it of a floating type")
    if largest is not None and not floating and largest > most:
        raise ValueError(f"out holds {target.dtype}, and labels go up to {largest}; make it of a larger type")


def _range_of(dtype: Any) -> tuple[bool, int]:
    """Whether a type of torch or numpy is a floating one, and the largest whole number that an integer one holds."""
    if isinstance(dtype, torch.dtype):
        floating = dtype.is_floating_point
        return floating, 1 if floating or dtype == torch.bool else torch.iinfo(dtype).max
    kind = np.dtype(dtype).kind
    return kind == "f", np.iinfo(dtype).max if kind in "iu" else 1


def _is_zarr_array(path: Path) -> bool:
    """Whether a folder is one Zarr array, of format 3 or 2, and not a group of them."""
    try:
        return (path / ".zarray").is_file() or json.loads((path / "zarr.json").read_text())["node_type"] == "array"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def _new_file(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> Any:
    """An array in a new .npy or .zarr."""
    if path.suffix == ".npy":
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    import zarr  # an optional dependency

    chunks = (*(1 for _ in shape[:-3]), *(min(s, 64 if len(shape) > 2 else 1024) for s in shape[-3:]))
    return zarr.create_array(path, shape=shape, dtype=dtype, chunks=chunks)
