"""docs/config.md names every key of a config, with its default."""

import ast
import re
from dataclasses import MISSING, fields, is_dataclass
from inspect import signature
from pathlib import Path

import pytest

from densevit.data.augment.options import AUGMENTS
from densevit.data.stream import RareClassOptions
from densevit.inference import InferenceOptions
from densevit.losses import LOSSES
from densevit.train import schema
from densevit.train.distillation.options import DenseDistillationOptions
from densevit.train.optim import OptimizerOptions, ScheduleOptions
from densevit.train.record import VisualizationOptions
from densevit.train.tasks.supervision import AuxiliaryOptions, DeepSupervisionOptions

PAGE = (Path(__file__).parents[2] / "docs" / "config.md").read_text()
SECTIONS = {
    "The file": schema.ConfigFile,
    "model": schema.ModelOptions,
    "optimizer": OptimizerOptions,
    "schedule": ScheduleOptions,
    "train_cfg": schema.LoopOptions,
    "train_data": schema.TrainDataOptions,
    "val_data": schema.EvalDataOptions,
    "augment of pictures": AUGMENTS[2],
    "rare_class_sampling": RareClassOptions,
    "auxiliary": AuxiliaryOptions,
    "deep_supervision": DeepSupervisionOptions,
    "distillation": DenseDistillationOptions,
    "inference": InferenceOptions,
    "visualization": VisualizationOptions,
}


def told(heading: str) -> dict[str, str]:
    """{key: default} of the first table under a heading, both as written."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    table = section[section.index("| key |") :].split("\n\n")[0]
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    return {key: default.strip("`") for keys, default, *_ in rows for key in re.findall(r"`(\w+)`", keys)}


def default_of(field) -> object:
    if field.default is not MISSING:
        return field.default
    made = field.default_factory()
    return {} if is_dataclass(made) and made == type(made)() else made


@pytest.mark.parametrize("heading", SECTIONS)
def test_the_page_names_every_key_and_its_default(heading):
    options = {field.name: field for field in fields(SECTIONS[heading])}
    table = told(heading)
    assert table.keys() == options.keys()
    required = {key for key, field in options.items() if field.default is field.default_factory is MISSING}
    assert {key for key, default in table.items() if default == "required"} == required
    for key in options.keys() - required - {"name"}:
        assert ast.literal_eval(table[key]) == default_of(options[key]), key


@pytest.mark.parametrize("name", LOSSES)
def test_the_page_names_every_key_of_a_loss(name):
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    keys = {key for key, p in signature(LOSSES[name]).parameters.items() if p.kind is p.KEYWORD_ONLY}
    assert keys - {"ignore_index"} <= set(re.findall(r"`(\w+)`", row))
