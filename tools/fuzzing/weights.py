"""Checkpoints: our own files, and those of others."""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from numpy.random import Generator

from densevit import create_segmentor
from densevit.checkpoint import build_model, open_checkpoint
from densevit.weights import read_checkpoint, read_weights, save_weights
from tools.fuzzing.kind import Sample
from tools.fuzzing.mutations import mutate_bytes, mutate_value
from tools.fuzzing.texts import HEADER


def checkpoints(folder: Path) -> list[Sample]:
    """A tiny model of volumes as safetensors, as .pth, and as a training's checkpoint of other projects."""
    model = create_segmentor(**HEADER["model"])
    ours, plain, trained = folder / "ours.safetensors", folder / "plain.pth", folder / "trained.pth"
    save_weights(model, ours, config=HEADER)
    some = {name: tensor for name, tensor in model.state_dict().items() if tensor.numel() < 500}
    torch.save(some, plain)
    meta = dict(epoch=3, dataset_meta=dict(classes=("a", "b", "c"), palette=[[0, 0, 0]] * 3))
    torch.save(dict(state_dict=some, meta=meta, optimizer=dict(state={}, param_groups=[])), trained)
    return [
        Sample(path=ours, read=lambda: _open(ours), checksum=True, rewrite=_header),
        *(
            Sample(path=path, read=lambda path=path: _plain(read_checkpoint(path)), rewrite=_pickle)
            for path in (plain, trained)
        ),
    ]


def _open(path: Path) -> Any:
    opened = open_checkpoint(path)
    build_model(opened)
    return opened.header.as_dict(), _plain(opened.tensors)


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.reshape(-1).contiguous().view(torch.uint8).numpy() if value.numel() else str(value.shape)
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else str(value)


def _header(content: bytes, rng: Generator) -> bytes:
    """Another description of the same weights, with a right digest."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.safetensors")
        path.write_bytes(content)
        tensors, config = read_weights(path)
        try:
            save_weights(tensors, path, config=mutate_value(config, rng))
        except (ValueError, RecursionError):  # what JSON cannot hold
            return mutate_bytes(content, rng)
        return path.read_bytes()


def _pickle(content: bytes, rng: Generator) -> bytes:
    """One member of the archive damaged, with a right checksum."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name in members if name.endswith("data.pkl")]
    chosen = pickles[0] if rng.random() < 0.7 else list(members)[int(rng.integers(len(members)))]
    members[chosen] = mutate_bytes(members[chosen], rng)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return written.getvalue()
