"""Checkpoint files: ours are safetensors with the config inside; others' pickles are read without running code.

A folder stands for a file in it: that of a run for its best weights.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from densevit.files import replacing
from densevit.texts import parse_json
from densevit.weights.pickles import read_pickle

WEIGHTS = "weights.safetensors"  # in each of the folders
# Of a run: the folder of the best weights, that of its snapshots, and the file that names the newest snapshot.
BEST, SNAPSHOTS, POINTER = "best", "checkpoints", "last_checkpoint"
SNAPSHOT = re.compile(r"iter_[0-9]+")  # the names of snapshots
CONFIG_KEY, DIGEST_KEY = "densevit", "densevit_sha256"  # in the header's metadata
# Keys under which frameworks keep the weights inside a checkpoint; the first one found is taken.
_CONTAINERS = (
    *("state_dict_ema", "state_dict", "model", "model_state", "model_state_dict", "module", "network_weights"),
    "teacher",
)
# What a download leaves in the place of weights, by its first bytes.
_PAGE = "a web page and no weights: its address shows a page about the file or wants a login; download the file itself"
_NO_WEIGHTS = {
    b"version https://git-lfs": "a pointer of git-lfs, lines in place of the weights; run `git lfs pull` beside it",
    b"<!doctype": _PAGE,
    b"<html": _PAGE,
    b"<?xml": _PAGE,
    b"<head": _PAGE,
    b'{"': "text and no weights, such as a server's message or a config; download the file itself",
}

Arrays = Mapping[str, Tensor | np.ndarray]  # contiguous, on the CPU
# The names of types in the format, by those that numpy and torch share.
TYPES = {
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    **dict(bool="BOOL", bfloat16="BF16", complex64="C64", float8_e4m3fn="F8_E4M3", float8_e5m2="F8_E5M2"),
    **dict(float8_e4m3fnuz="F8_E4M3FNUZ", float8_e5m2fnuz="F8_E5M2FNUZ"),
}


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read the state dict and the metadata of a .safetensors, .pth, .pt, .bin, .pkl or .npz file.

    The metadata are our config, or a framework's `meta` (mmengine's holds `dataset_meta`), or empty. No code from the
    file runs. Raises FileNotFoundError, or ValueError in one sentence for any file that holds no readable weights.
    """
    path = _existing_file(path)
    if path.suffix == ".safetensors":
        state, config = read_weights(path)
        return state, config or {}
    if path.suffix == ".npz":
        from densevit.weights.npz import read_arrays  # here, for few files are such

        return read_arrays(path), {}
    content = read_pickle(path)
    meta = content.get("meta") if isinstance(content, dict) else None
    return _find_state(content, path), meta if isinstance(meta, dict) else {}


def find_weights(checkpoint: str | Path) -> Path:
    """A file itself, that of a folder, or the best (else the last) of a run's folder; FileNotFoundError for none.

    "hf:USER/MODEL" is that of a repository of the Hugging Face hub, see `fetch_weights`.
    """
    if str(checkpoint).startswith("hf:"):
        from densevit.weights.named import fetch_weights  # here, for it needs the names of this file

        return fetch_weights(str(checkpoint), file=WEIGHTS).path
    path = Path(checkpoint)
    if path.is_file():
        return path
    snapshots = path / SNAPSHOTS
    found = [folder for folder in snapshots.glob("iter_*") if SNAPSHOT.fullmatch(folder.name)]
    newest = sorted(found, key=lambda folder: int(folder.name[5:]), reverse=True)
    pointed = [snapshots / name for name in [_last_folder(path)] if name is not None]
    for folder in (path, path / BEST, *pointed, *newest):
        if (folder / WEIGHTS).is_file():
            return folder / WEIGHTS
    raise FileNotFoundError(
        f"no checkpoint at {path}; give a {WEIGHTS} that training wrote, the folder that holds it, or that of a run"
    )


def _last_folder(run: Path) -> str | None:
    """The name of a run's newest folder of `SNAPSHOTS`, as its pointer says; None where that says nothing."""
    try:
        name = (run / POINTER).read_text(encoding="utf-8", errors="replace").split("\n", 1)[0].strip()
    except (OSError, ValueError):  # of a name with a null byte
        return None
    return name if SNAPSHOT.fullmatch(name) else None


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict | None]:
    """Read a safetensors file: its tensors, and the config of its header or None.

    Raises ValueError for a file that is damaged or not safetensors. Files that `save_weights` wrote hold a digest of
    their tensors and config, with which they must agree; those of others, and of densevit before, hold none.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dictionary
        text = metadata.get(CONFIG_KEY)
        if DIGEST_KEY in metadata and metadata[DIGEST_KEY] != digest(state, text or ""):
            raise ValueError("its weights or its header are not those that were saved, as their checksum shows")
        return state, _parse_config(text)


def read_config(path: str | Path) -> dict | None:
    """The same config alone: tensors are neither read nor compared with their digest."""
    with _opened(path) as file:
        return _parse_config((file.metadata() or {}).get(CONFIG_KEY))


@contextmanager
def _opened(path: str | Path) -> Iterator[Any]:
    path = _existing_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or not a safetensors file: {error}; copy it again, or convert a checkpoint of another "
            "kind with tools/convert_weights.py"
        ) from error


def _parse_config(text: str | None) -> dict | None:
    config = None if text is None else parse_json(text, said_by="its config")
    if not isinstance(config, dict | None):
        raise ValueError(f"its config is a {type(config).__name__}, not a dictionary")
    return config


def save_weights(model_or_state: nn.Module | Mapping[str, Tensor], path: str | Path, *, config: dict) -> None:
    """Write a safetensors file with `config` as JSON in its header, and a digest of both.

    It is written beside `path`, synced, then renamed, so that an existing file survives any failure. Raises
    ValueError for a config that JSON cannot hold and OSError when the file cannot be written.
    """
    path = Path(path)
    state = model_or_state.state_dict() if isinstance(model_or_state, nn.Module) else model_or_state
    try:
        text = json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the config of {path.name} must hold only what JSON can: {error}") from error
    tensors = _independent(state)
    metadata = {"format": "pt", CONFIG_KEY: text, DIGEST_KEY: digest(tensors, text)}
    with replacing(path) as aside:
        write_tensors(aside, tensors, metadata=metadata)


def _existing_file(path: str | Path) -> Path:
    path = Path(path)
    if path.is_dir():
        try:
            path = find_weights(path)
        except FileNotFoundError:
            raise ValueError(f"{path} is a folder, and not that of a run; give the checkpoint file inside it") from None
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {path}")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty; copy or download it again")
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    found = next((sentence for begins, sentence in _NO_WEIGHTS.items() if start.startswith(begins)), None)
    if found is not None and b"\0" not in start:  # which texts do not hold, and the lengths in files of weights do
        raise ValueError(f"{path} is damaged or not a checkpoint: it is {found}")
    return path


def _find_state(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a dictionary of tensors")
    for key in _CONTAINERS:
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    state = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not state:
        raise ValueError(f"{path} holds no tensors, only {', '.join(map(str, list(content)[:5])) or 'nothing'}")
    return state


def _independent(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors demands; tied weights are written twice."""
    seen, result = set(), {}
    for name, tensor in state.items():
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage().data_ptr()
        result[name] = tensor.clone() if storage in seen else tensor
        seen.add(storage)
    return result


def write_tensors(path: Path, arrays: Arrays, *, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file in place: the same content gives the same bytes, and the file is as the umask has it.

    The package's own writer orders metadata anew each time, lets nobody but the owner read the file, and does not say
    which of the system's errors ended it. ValueError for a type that the format does not have.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))  # which keeps every array aligned
    begin = 0
    for name in names:
        end = begin + arrays[name].nbytes
        header[name] = dict(dtype=_type_of(arrays, name), shape=list(arrays[name].shape), data_offsets=[begin, end])
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in names:
            file.write(_bytes_of(arrays[name]))


def digest(arrays: Arrays, text: str) -> str:
    """The SHA-256 of names, types, shapes and values, and of a text that goes with them."""
    found = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        found.update(json.dumps([name, _type_of(arrays, name), list(arrays[name].shape)]).encode())
        found.update(_bytes_of(arrays[name]))
    return found.hexdigest()


def _type_of(arrays: Arrays, name: str) -> str:
    kind = str(arrays[name].dtype).removeprefix("torch.")
    if kind not in TYPES:
        raise ValueError(f"{name} is of the type {kind}, which safetensors files do not hold; convert it to float32")
    return TYPES[kind]


def _bytes_of(array: Tensor | np.ndarray) -> memoryview:
    flat = array.reshape(-1)
    return (flat.view(torch.uint8).numpy() if isinstance(flat, Tensor) else flat.view(np.uint8)).data
