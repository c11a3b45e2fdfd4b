"""Every config that comes with the project loads, passes its own check, and says what the papers say."""

import ast
import re

import pytest
import torch

from densevit import create_segmentor
from densevit.engine import load_config
from tests.conftest import REPOSITORY

CONFIGS = sorted((REPOSITORY / "configs").glob("*.py"))
CITYSCAPES = [path for path in CONFIGS if path.stem.endswith("_cityscapes")]
ADE20K = [path for path in CONFIGS if path.stem.endswith("_ade20k")]
PARAMETERS = dict(b0=3_719_027, b1=13_682_131, b2=27_361_235, b3=47_237_075, b4=64_007_635, b5=84_607_955)
# mIoU of one scale, from the paper's tables.
SCORES = dict(
    segformer_b0_cityscapes=76.2,
    segformer_b1_cityscapes=78.5,
    segformer_b2_cityscapes=81.0,
    segformer_b3_cityscapes=81.7,
    segformer_b4_cityscapes=82.3,
    segformer_b5_cityscapes=82.4,
    segformer_b0_ade20k=37.4,
    segformer_b2_ade20k=46.5,
)


def name(path):
    return path.stem


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_promised_configs_are_there():
    promised = {*SCORES, "segformer_b0_camvid", "segformer_b0_synthetic"}
    assert promised <= {path.stem for path in CONFIGS}


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_loads_and_builds_its_model(path):
    config = load_config(path)
    with torch.device("meta"):
        model = create_segmentor(**config.model.to_dict())
    assert model.num_classes == config.model.num_classes


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_states_command_time_and_score(path):
    text = docstring(path)
    assert re.search(rf"Command: `.*configs/{path.name}", text)
    assert "\nTime: " in text
    assert "\nScore: " in text
    if path.stem in SCORES:
        assert f"Score: {SCORES[path.stem]} mIoU" in text


@pytest.mark.parametrize("path", CITYSCAPES + ADE20K, ids=name)
def test_the_recipe_is_the_published_one(path):
    config = load_config(path)
    optimizer = config.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.betas, optimizer.weight_decay) == (
        "AdamW",
        6e-5,
        (0.9, 0.999),
        0.01,
    )
    assert optimizer.no_decay == ("norm",)
    assert optimizer.lr_multipliers.to_dict() == dict(decoder=10.0, head=10.0)
    schedule = config.schedule
    assert (schedule.type, schedule.power, schedule.min_lr) == ("poly", 1.0, 0.0)
    assert (schedule.warmup_iters, schedule.warmup_ratio) == (1500, 1e-6)
    settings = config.train_cfg
    assert (settings.max_iters, settings.accumulate, settings.clip_grad) == (160_000, 1, None)
    assert settings.sync_bn
    assert config.loss == [dict(type="cross_entropy")]
    augment = config.train_data.augment
    assert (augment.scale, augment.cat_max_ratio, augment.flip, augment.photometric) == ((0.5, 2.0), 0.75, 0.5, True)
    assert config.model.backbone_options.drop_path == 0.1
    assert config.model.decoder_options.dropout == 0.1


@pytest.mark.parametrize("path", CITYSCAPES, ids=name)
def test_cityscapes_is_cropped_and_tested_as_published(path):
    config = load_config(path)
    data = config.train_data
    assert (data.augment.base_size, data.augment.crop_size, data.batch_size) == ((1024, 2048), (1024, 1024), 1)
    inference = config.inference
    assert (inference.mode, inference.roi_size, inference.stride) == ("slide", (1024, 1024), (768, 768))
    variant = path.stem.split("_")[1]
    with torch.device("meta"):
        model = create_segmentor(**config.model.to_dict())
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[variant]


@pytest.mark.parametrize("path", ADE20K, ids=name)
def test_ade20k_is_cropped_and_tested_as_published(path):
    config = load_config(path)
    data = config.train_data
    assert (data.augment.base_size, data.augment.crop_size, data.batch_size) == ((512, 2048), (512, 512), 2)
    assert (config.inference.mode, config.inference.base_size) == ("whole", (512, 2048))
    assert config.model.num_classes == 150
