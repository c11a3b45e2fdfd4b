"""A trained model as a MONAI bundle: a folder that `python -m monai.bundle`, MONAI Label and MONAI Deploy read."""

import json
import logging
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from densevit.checkpoint import WEIGHTS, write_checkpoint
from densevit.export.monai_configs import make_evaluate, make_inference, make_train
from densevit.export.monai_metadata import About, Source, make_metadata, open_run
from densevit.export.monai_texts import LOGGING, make_license, make_readme
from densevit.export.torchscript import TraceError, save, trace
from densevit.files import replacing
from densevit.quoting import monai_data

logger = logging.getLogger("densevit")


def export_monai_bundle(
    run: str | Path,
    output: str | Path,
    *,
    about: About | None = None,
    torchscript: bool = True,
    imports: Sequence[str] = (),
) -> Path:
    """Write the model of a run (its folder, or its weights.safetensors) as a bundle; the folder appears when complete.

    `imports` are modules that register the model's parts, which the bundle imports before it makes the network. One
    that is a file of its own, and was imported here, travels in scripts/; others must be installed where it runs.
    models/model.ts is left out, with a warning, where the model cannot be traced or the trace gives other numbers.
    Raises FileNotFoundError or ValueError for what is not a run on volumes, ValueError for an output folder that holds
    files, OSError where it cannot be written.
    """
    about, output = about or About(), Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists already; give another folder, or remove it first")
    if not all(part.isidentifier() for name in imports for part in name.split(".")):
        raise ValueError(f"imports are names of modules such as my_parts, got {list(imports)}")
    source = replace(open_run(run), imports=tuple(imports))
    with replacing(output) as folder:
        for name in ("configs", "models", "docs"):
            (folder / name).mkdir(parents=True)
        metadata, inference = monai_data(make_metadata(source, about)), make_inference(source)
        configs = dict(metadata=metadata, inference=inference, train=make_train(source), evaluate=make_evaluate(source))
        for name, content in configs.items():
            (folder / "configs" / f"{name}.json").write_text(_json(content), encoding="utf-8")
        (folder / "configs" / "logging.conf").write_text(LOGGING, encoding="utf-8")
        _write_weights(source, folder / "models")
        _copy_parts(source.imports, folder / "scripts")
        why = "it was not asked for"
        if torchscript:
            why = _write_script(
                source, folder / "models" / "model.ts", extra=dict(metadata=metadata, inference=inference)
            )
        texts = {"LICENSE": make_license(about), "docs/README.md": make_readme(source, about, why_no_script=why)}
        if about.data_license is not None:
            texts["docs/data_license.txt"] = about.data_license
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    return output


def _write_weights(source: Source, folder: Path) -> None:
    """Write the state dict alone, and again with its header. MONAI Label takes each .pt for a model."""
    state = {name: tensor.detach().clone() for name, tensor in source.model.state_dict().items()}
    torch.save(state, folder / "model.pt")
    write_checkpoint(folder / WEIGHTS, source.model, source.header)
    shutil.copymode(folder / "model.pt", folder / WEIGHTS)  # safetensors lets the owner alone read


def _copy_parts(names: Sequence[str], folder: Path) -> None:
    """Copy the modules that are one file of the user's."""
    for name in names:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file is not None and Path(file).name == f"{name}.py":
            folder.mkdir(exist_ok=True)
            shutil.copy(file, folder)


def _write_script(source: Source, path: Path, *, extra: Mapping[str, Any]) -> str | None:
    """Write model.ts. Returns the reason where that was not possible."""
    inference = source.inference
    sizes = [inference["roi_size"]]
    if inference["mode"] == "whole":  # any size may come
        least = [max(d, 16) for d in inference["divisor"]]
        sizes = [[2 * s for s in least], least[:1] + [2 * s for s in least[1:]], least]
    try:
        traced = trace(source.model, in_channels=source.header.in_channels, sizes=sizes)
    except TraceError as error:
        logger.warning("no model.ts: %s", error)
        return str(error)
    save(traced, path, extra={f"{name}.json": _json(content) for name, content in extra.items()})
    return None


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
