"""Weights out of TorchScript archives, such as OpenAI's CLIP: their tensors by name, without running their code.

An archive holds a pickle of modules within modules, each a name of a class and its attributes, and a file of bytes for
each storage. Of the names only those below mean anything; a class of the archive becomes a bag of attributes.
"""

import pickle
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from torch import Tensor

SCRIPTED = "__torch__"  # with which the names of an archive's own classes begin
STORAGES = {
    f"torch.{name}Storage": kind
    for name, kind in dict(
        Half=torch.float16,
        BFloat16=torch.bfloat16,
        Float=torch.float32,
        Double=torch.float64,
        Long=torch.int64,
        Int=torch.int32,
        Short=torch.int16,
        Char=torch.int8,
        Byte=torch.uint8,
        Bool=torch.bool,
    ).items()
}
LISTS = ("intlist", "doublelist", "boollist", "tensorlist")


class _Module:
    """In the place of a module of the archive: its attributes by name."""

    def __init__(self) -> None:
        self.attributes: Mapping[str, Any] = {}

    def __setstate__(self, state: Any) -> None:
        self.attributes = state if isinstance(state, dict) else {}


def _rebuild(storage: Tensor, offset: int, size: tuple, stride: tuple, *_others: Any) -> Tensor:
    """A tensor in a storage; RuntimeError where it would lie outside."""
    return storage.as_strided(size, stride, offset).clone()


class _Reader(pickle._Unpickler):  # the one in C takes memory for as many entries as a file says
    def __init__(self, archive: zipfile.ZipFile, root: PurePosixPath):
        super().__init__(archive.open(str(root / "data.pkl")))
        self.archive, self.root = archive, root
        self.storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        whole = f"{module}.{name}"
        if module.partition(".")[0] == SCRIPTED:
            return _Module
        if whole in STORAGES:
            return STORAGES[whole]
        known = {"torch._utils._rebuild_tensor_v2": _rebuild, "collections.OrderedDict": dict}
        known |= {f"torch.jit._pickle.build_{kind}": list for kind in LISTS}
        if whole not in known:
            raise pickle.UnpicklingError(f"GLOBAL {whole}")
        return known[whole]

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage of ("storage", type, key, device, length), flat."""
        _, kind, key, *_ = pid
        if key not in self.storages:
            data = bytearray(self.archive.read(str(self.root / "data" / str(key))))
            self.storages[key] = torch.frombuffer(data, dtype=kind) if data else torch.empty(0, dtype=kind)
        return self.storages[key]


def is_scripted(path: Path) -> bool:
    """Whether the file is a TorchScript archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(PurePosixPath(name).name == "constants.pkl" for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError):
        return False


def read_scripted(path: Path) -> dict[str, Tensor]:
    """Its parameters and buffers by name. UnpicklingError for a name that no such archive needs; a damaged one can
    raise anything."""
    with zipfile.ZipFile(path) as archive:
        root = next(PurePosixPath(name).parent for name in archive.namelist() if name.endswith("/data.pkl"))
        return dict(_named(_Reader(archive, root).load(), ""))


def _named(module: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.attributes.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, _Module):
            yield from _named(value, f"{prefix}{name}.")
