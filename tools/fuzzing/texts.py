"""Descriptions of data sets and configs in JSON and YAML, and options as Python holds them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from numpy.random import Generator

from densevit.checkpoint import Header
from densevit.data.layouts.classes import read_classes
from densevit.data.layouts.datalist import Datalist, Decathlon
from densevit.data.layouts.nnunet import NnUNetRaw
from densevit.data.layouts.subjects import subjects_of
from densevit.train.config import check_config, load_config, parse_overrides
from tools.fuzzing.kind import Sample
from tools.fuzzing.mutations import mutate_bytes, mutate_value

NAMES = ("case_0", "case_1", "case_2")
MODEL = dict(
    backbone="mit_b0",
    decoder="all_mlp",
    num_classes=3,
    spatial_dims=2,
    in_channels=3,
    backbone_options=dict(dims=[8, 16, 40, 64], depths=[1, 1, 1, 1]),
    decoder_options=dict(dim=16),
)
CONFIG = dict(
    model=MODEL,
    loss=[dict(type="cross_entropy", class_weights=[1.0, 2.0, 1.0]), dict(type="dice", weight=0.5)],
    optimizer=dict(type="AdamW", lr=1e-3, betas=[0.9, 0.999], no_decay=["norm"], lr_multipliers=dict(head=2.0)),
    schedule=dict(type="poly", warmup_iters=2),
    train_cfg=dict(max_iters=6, val_interval=6, checkpoint_interval=3, log_interval=1, amp=None, ema=0.9),
    train_data=dict(
        dataset=dict(type="folder", root="data", split="train", classes=["a", "b", "c"]),
        augment=dict(crop_size=[32, 32], scale=[0.5, 2.0], flip=0.5),
        batch_size=2,
        num_workers=0,
    ),
    val_data=dict(dataset=dict(type="folder", root="data", split="val")),
    inference=dict(mode="slide", roi_size=[32, 32], stride=[16, 16], flips=[-1], scales=[1.0]),
    visualization=dict(tensorboard=False, num_images=1),
)
HEADER = dict(
    header_version=2,
    model=MODEL | dict(spatial_dims=3, in_channels=1),
    classes=["background", "liver", "tumour"],
    palette=[[0, 0, 0], [255, 0, 0], [0, 255, 0]],
    ignore_index=255,
    inference=dict(mode="slide_gaussian", roi_size=[32, 32, 32], flips=[0]),
    normalization=dict(type="zscore", percentiles=[0.5, 99.5]),
    spacing=[2.0, 1.5, 1.5],
    label_values=[0, 2, 7],
    training=dict(iteration=6, scores=dict(mIoU=50.0)),
    version="0.1.0",
)
OPTIONS = [
    "train_cfg.max_iters=4",
    "inference.roi_size=(64, 64)",
    "model.backbone=mit_b1",
    "loss.0.class_weights=[1,2,1]",
]


def texts(folder: Path) -> list[Sample]:
    """Every JSON and YAML file that is read."""
    for place in ("imagesTr", "labelsTr"):
        (folder / place).mkdir()
        for name in NAMES:
            (folder / place / f"{name}{'_0000' * (place == 'imagesTr')}.nii.gz").touch()
    entries = [dict(image=f"imagesTr/{name}_0000.nii.gz", label=f"labelsTr/{name}.nii.gz") for name in NAMES]
    labels = {"background": 0, "liver": 2, "tumour": 7}
    folds = [dict(train=list(NAMES[:2]), val=list(NAMES[2:]))]
    nnunet = dict(channel_names={"0": "CT"}, labels=labels, numTraining=3, file_ending=".nii.gz")
    decathlon = dict(labels={"0": "background", "2": "liver"}, modality={"0": "CT"}, training=entries[:2])
    listed = dict(labels=labels, training=[dict(entry, fold=i) for i, entry in enumerate(entries)], validation=[])
    classes = dict(classes=["a", "b"], palette=[[0, 0, 0], "#ff0000"], ignore_index=255, label_map={"a": [3, 4]})
    made: list[tuple[str, Any, Callable[[Path], Any]]] = [
        ("classes.json", classes, lambda path: vars(read_classes(path))),
        ("splits_final.json", folds, lambda path: NnUNetRaw(root=str(path.parent), splits=str(path)).listing().folds),
        ("subjects.json", dict(case_0="a", case_1="a", case_2=3), _subjects),
        ("datalist.json", listed, lambda path: vars(Datalist(root=str(path.parent), datalist=path.name).listing())),
        ("config.json", CONFIG, lambda path: load_config(path).to_dict()),
        ("config.yaml", CONFIG, lambda path: load_config(path).to_dict()),
    ]
    (folder / "dataset.json").write_text(json.dumps(nnunet))
    samples = [_sample(folder / name, value, read) for name, value, read in made]
    samples.append(_set_in(folder / "nnunet", folder, nnunet, NnUNetRaw))
    samples.append(_set_in(folder / "msd", folder, decathlon, Decathlon))
    return samples


def _set_in(root: Path, files: Path, content: Any, kind: Any) -> Sample:
    """A set whose folders lie elsewhere, described by its own dataset.json."""
    root.mkdir()
    for name in ("imagesTr", "labelsTr"):
        (root / name).symlink_to(files / name, target_is_directory=True)
    return _sample(root / "dataset.json", content, lambda path: vars(kind(root=str(path.parent)).listing()))


def _subjects(path: Path) -> Any:
    return subjects_of(NAMES, path.name, root=path.parent)


def _sample(path: Path, value: Any, read: Callable[[Path], Any], *, named: bool = True) -> Sample:
    path.write_text(json.dumps(value, indent=1) if path.suffix == ".json" else yaml.safe_dump(value))
    rewrite = _values if path.suffix == ".json" else _yaml_values
    return Sample(path=path, read=lambda: read(path), rewrite=rewrite, named=named)


def _values(content: bytes, rng: Generator) -> bytes:
    try:
        return json.dumps(mutate_value(json.loads(content), rng)).encode()
    except RecursionError:
        return b"[" * 5000


def _yaml_values(content: bytes, rng: Generator) -> bytes:
    try:
        return yaml.dump(mutate_value(yaml.safe_load(content), rng)).encode()
    except (UnicodeEncodeError, RecursionError):
        return mutate_bytes(content, rng)


def options(folder: Path) -> list[Sample]:
    """Configs and headers as dictionaries, whatever is in them, and what stands behind --cfg-options."""
    config = folder / "base.json"
    config.write_text(json.dumps(CONFIG))
    path = folder / "options.txt"
    path.write_text("\n".join(OPTIONS))
    lines = Sample(
        path=path,
        read=lambda: load_config(config, parse_overrides(_text(path).split("\n"))).to_dict(),
        rewrite=_option_lines,
        named=False,
    )
    as_config = _sample(folder / "config.json", CONFIG, lambda at: check_config(_loaded(at)).to_dict(), named=False)
    as_header = _sample(folder / "header.json", HEADER, lambda at: Header.read(_loaded(at), at).as_dict(), named=False)
    return [as_config, as_header, *(as_config, as_header), lines]


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape")


def _loaded(path: Path) -> Any:
    """Any value that Python can hold; a file that is no JSON stands for its own text."""
    try:
        return json.loads(_text(path))
    except (ValueError, RecursionError):
        return _text(path)


def _option_lines(content: bytes, rng: Generator) -> bytes:
    lines = [line.split("=", 1) for line in content.decode().split("\n")]
    key, value = lines[int(rng.integers(len(lines)))]
    try:
        other = (
            str(mutate_value(value, rng)) if rng.random() < 0.5 else mutate_bytes(value.encode(), rng).decode("latin-1")
        )
    except RecursionError:  # of a list too deep to be written
        other = "[" * 300
    return f"{key}={other}".encode("utf-8", "backslashreplace")
