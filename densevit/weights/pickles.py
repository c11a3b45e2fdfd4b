"""Others' checkpoints, which are pickles: read without running code, and without taking more memory than they say.

A pickle may ask for any function by its name. torch's own reader gives it tensors and plain data; of other names those
on a list get a class that does nothing, and all others are refused.
"""

import errno
import pickle
import re
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from densevit.environment import ignore_warnings
from densevit.texts import format_bytes
from densevit.weights.scripted import is_scripted, read_scripted

_loading = Lock()  # torch's list of allowed names belongs to the whole process
MOST_GROWTH = 4  # how much larger than its file a checkpoint may be: torch does not compress, and numbers hardly shrink
_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the number that torch's files of before 1.6 begin with


class _Inert:
    """Stands for every object of a checkpoint that is not a tensor or plain data: takes anything, does nothing."""

    def __new__(cls, *_arguments: Any) -> "_Inert":
        return super().__new__(cls)

    def __setstate__(self, _state: Any) -> None:
        return None


class _AsDict:
    """Stands for dictionaries with a class of their own, such as a config's: makes a plain one."""

    def __new__(cls, *_arguments: Any) -> OrderedDict:
        return OrderedDict()


class _AsList:
    """The same for lists."""

    def __new__(cls, *_arguments: Any) -> list:
        return []


# What training frameworks leave in their checkpoints beside weights. Each name is given an inert class instead of
# the real thing, so that allowing it allows nothing: not even getattr, with which mmengine's log history is pickled.
_DICTS = (
    "addict.addict.Dict",
    "collections.defaultdict",
    "detectron2.config.config.CfgNode",
    "easydict.EasyDict",
    "fvcore.common.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "mmcv.utils.config.ConfigDict",
    "mmengine.config.config.ConfigDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)
_LISTS = ("collections.deque",)
_HARMLESS = (
    "argparse.Namespace",
    "builtins.getattr",  # getattr(HistoryBuffer, "min")
    *(f"builtins.{name}" for name in ("bool", "complex", "dict", "float", "frozenset", "int", "list", "object", "set",
                                      "str", "tuple", "slice", "range")),
    *(f"copyreg.{name}" for name in ("_reconstructor",)),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    "decimal.Decimal",
    "fractions.Fraction",
    "mmengine.config.config.Config",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(f"omegaconf.{name}" for name in ("base.ContainerMetadata", "base.Metadata", "dictconfig.DictConfig",
                                       "listconfig.ListConfig", "nodes.AnyNode")),
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath",
                                      "WindowsPath")),
    *(f"pathlib._local.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")),
    "types.SimpleNamespace",
    "typing.Any",
    "uuid.UUID",
    "zoneinfo.ZoneInfo",
)  # fmt: skip


def read_pickle(path: Path) -> Any:
    """What a checkpoint holds. No code of it runs; ValueError in one sentence for what is not readable or not safe."""
    with path.open("rb") as file:
        start = file.read(2 + len(_LEGACY))
    has_arrays = start[:1] == b"\x80" and start[2:] != _LEGACY
    if not has_arrays:
        check_growth(path)
    try:
        if not has_arrays and is_scripted(path):
            return read_scripted(path)
        return _read_arrays(path) if has_arrays else _read_tensors(path)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL (\S+)", str(error))
        raise (_damaged(path, error) if asked is None else _refused(path, asked[1])) from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # of an archive whose parts lie nowhere
            raise
        raise ValueError(f"{path} is damaged or not a checkpoint: its parts lie outside of it") from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise _damaged(path, error) from error


def _read_tensors(path: Path) -> Any:
    kinds = {_Inert: _HARMLESS, _AsDict: _DICTS, _AsList: _LISTS}
    allowed = [(kind, name) for kind, names in kinds.items() for name in names]
    # torch's list of what a file may ask for belongs to the process; the warnings are of pickle protocols.
    with _loading, torch.serialization.safe_globals(allowed), ignore_warnings():
        return torch.load(path, map_location="cpu", weights_only=True)


def check_growth(path: Path) -> None:
    """ValueError for an archive whose parts are many times larger than its file."""
    try:
        with zipfile.ZipFile(path) as archive:
            total = sum(part.file_size for part in archive.infolist())
    except Exception:  # no archive, or a damaged one, of which torch says what is wrong
        return
    size = path.stat().st_size
    if total > MOST_GROWTH * size:
        raise ValueError(
            f"{path} was not loaded: its {format_bytes(size)} would grow to {format_bytes(total)}, and weights are not "
            "compressed; save its state dict with torch.save"
        )


def _refused(path: Path, name: str) -> ValueError:
    return ValueError(
        f"{path} was not loaded: it asks for {name}, which plain weights never need and which could run code; "
        "save its state dict alone, or as safetensors"
    )


def _damaged(path: Path, error: Exception) -> ValueError:
    """With the cause alone: what torch writes around it advises to run the file's code."""
    cause = re.search(r"WeightsUnpickler error:\s*(.*)", str(error))
    text = (cause[1] if cause else str(error)).strip()
    reason = text.splitlines()[0].split(". ")[0] if text else type(error).__name__
    return ValueError(f"{path} is damaged or not a checkpoint: {reason}")


# Plain pickles of numpy arrays, as detectron2 publishes them.


class _Type:
    """In the place of numpy's type: its code, and the order of its bytes."""

    def __init__(self, code: str, *_arguments: Any):
        self.name, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    """In the place of numpy's array: becomes a tensor of exactly the bytes that the file holds for it."""

    tensor: Tensor | None = None

    def __init__(self, *_arguments: Any):
        pass

    def __setstate__(self, state: tuple) -> None:
        _, shape, kind, by_columns, data = state
        if kind.name[:1] not in "biuf":
            return  # texts and objects are no weights
        kind = np.dtype(kind.order.replace("|", "=") + kind.name)
        if prod(shape) * kind.itemsize != len(data):
            raise ValueError(f"an array of {tuple(shape)} holds {len(data)} bytes")
        array = np.frombuffer(data, kind).reshape(shape, order="F" if by_columns else "C")
        self.tensor = torch.from_numpy(np.array(array, kind.newbyteorder("="), order="C"))


def _encode(text: str, encoding: str) -> bytes:
    """Bytes in pickles of before Python 3."""
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"its bytes are written in {encoding!r}")
    return text.encode("latin-1")


_OF_ARRAYS = {
    "__builtin__.bytes": lambda: b"",
    "builtins.bytes": lambda: b"",
    "_codecs.encode": _encode,
    "collections.OrderedDict": dict,
    "numpy.dtype": _Type,
    "numpy.ndarray": _Array,
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _Inert for core in ("core", "_core")},
}


class _ArrayReader(pickle._Unpickler):  # the one in C takes memory for as many entries as a file says
    """Gives a pickle the names above, and no other."""

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _OF_ARRAYS:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return _OF_ARRAYS[f"{module}.{name}"]


def _read_arrays(path: Path) -> Any:
    with path.open("rb") as file:
        return _with_tensors(_ArrayReader(file, encoding="latin1").load())


def _with_tensors(content: Any, depth: int = 3) -> Any:
    """The dictionary, and those inside it, with tensors in the place of arrays."""
    if isinstance(content, _Array):
        return content.tensor
    if isinstance(content, dict) and depth:
        return {key: _with_tensors(value, depth - 1) for key, value in content.items()}
    return content
