"""README, LICENSE and logging.conf of a MONAI bundle."""

from densevit.export.monai_metadata import (
    NOT_STATED,
    About,
    Source,
    bundle_name,
    class_values,
    described,
    model_name,
    scores_of,
)
from densevit.quoting import markdown, printable

LOGGING = """\
[loggers]
keys=root

[handlers]
keys=consoleHandler

[formatters]
keys=fullFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=fullFormatter
args=(sys.stdout,)

[formatter_fullFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""
NO_LICENSE = """\
The licence of the weights in models/ has not been stated.

Whoever trained them decides: put the text of their licence here before this bundle is passed on, for example with
`densevit export monai-bundle RUN -o DIR --license FILE`. Mind the licence of the data that they were trained on.
The configs in configs/ come from densevit, which is under the Apache License, Version 2.0.
"""
RUN = "python -m monai.bundle run --bundle_root ."


def make_license(about: About) -> str:
    """The licence of the weights, or the note that none has been stated."""
    return NO_LICENSE if about.license is None else about.license


def make_readme(source: Source, about: About, *, why_no_script: str | None) -> str:
    """What the bundle is, how to run it, and what is not known about it."""
    parts = [
        f"# {about.name or markdown(bundle_name(source, about))}",
        about.description or markdown(described(source)),
        _facts(source),
        "## Classes\n\n| in masks | channel | name |\n|---|---|---|\n"
        + "\n".join(f"| {value} | {i} | {markdown(name)} |" for i, (name, value) in enumerate(class_values(source))),
        _mismatch(source),
        _scores(source),
        _use(),
        _files(source, why_no_script),
        f"## Who and under which terms\n\nAuthors: {about.authors or NOT_STATED}. Copyright: "
        f"{about.copyright or NOT_STATED}. The licence of the weights is in LICENSE.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(source: Source) -> str:
    header, inference = source.header, source.inference
    spacing = "the scan's own spacing"
    if header.spacing is not None:
        spacing = f"{' x '.join(f'{s:.4g}' for s in header.spacing)} mm (depth, height, width)"
    seen = "scans whole" if inference["mode"] == "whole" else f"windows of {_times(inference['roi_size'])} voxels"
    return (
        f"{model_name(source)}, {sum(p.numel() for p in source.model.parameters()) / 1e6:.2f} M parameters, "
        f"{header.in_channels} input channel{'s' * (header.in_channels > 1)}, sees {seen} at {spacing}. "
        f"Intensities: {_described(header.normalization)}."
    )


def _mismatch(source: Source) -> str:
    values = source.header.values.tolist()
    if values == list(range(len(values))):
        return ""
    return (
        "Values in masks are those of the training files, not the channels. MONAI Label names structures by channel: "
        "set `label_values` in configs/inference.json to null for it."
    )


def _scores(source: Source) -> str:
    scores = scores_of(source.header)
    if not scores:
        return ""
    listed = ", ".join(f"{markdown(name)} {value:.2f}" for name, value in scores.items())
    return f"Validation when these weights were saved, in per cent: {listed}."


def _use() -> str:
    return f"""\
## Use

With `pip install 'densevit[medical]'`, in this folder:

```bash
{RUN} --config_file configs/inference.json --datalist scans/ --output_dir masks/
{RUN} --config_file configs/evaluate.json --dataset_dir DECATHLON_FOLDER
{RUN} --config_file configs/train.json --dataset_dir DECATHLON_FOLDER --epochs 100
```

`--datalist` is a file, a folder, or a Python list of files; a list of files in it is one scan of several channels.
Masks lie on the scans' own grids and are those of `densevit predict`, voxel for voxel; a scan that cannot be read is
skipped with its name, and the exit code is then 1. Training begins with fresh
weights and writes the best to models/model.pt alone; MONAI's `ckpt_export --use_trace True` makes models/model.ts anew.
`--cases "{{'type': 'nnunet', ...}}"` and `--train_cases` name other sets."""


def _files(source: Source, why_no_script: str | None) -> str:
    script = "models/model.ts, the same as TorchScript for MONAI Deploy"
    if why_no_script is not None:
        script = f"no models/model.ts, because {printable(why_no_script)}"
    names = ", ".join(source.imports)
    parts = (
        f" The model's parts are in {names}: from scripts/ where that holds it, else to be installed." if names else ""
    )
    return (
        "## Files\n\nmodels/model.pt, the weights as a state dict; models/weights.safetensors, the same with their "
        f"description, which `densevit predict` reads; {script}.{parts}\n\n"
        "configs/ are read by MONAI, which runs what they say: use bundles of people you trust."
    )


def _described(normalization: dict) -> str:
    options = ", ".join(f"{key} {value}" for key, value in normalization.items() if key != "type")
    return normalization["type"] + (f" ({options})" if options else "")


def _times(size: list[int]) -> str:
    return " x ".join(map(str, size))
