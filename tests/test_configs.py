"""Every config that comes with the project loads, passes its own check, and says what the papers say."""

import ast
import re
from functools import cache

import pytest
import torch

from densevit import train
from densevit.train.tasks.segment import create_model, create_segment_model
from densevit.train.tasks.supervision import AuxiliaryOptions
from tests.conftest import REPOSITORY
from tools.peers import import_peer

CONFIGS = sorted((REPOSITORY / "configs").glob("*.py"))
CITYSCAPES = [path for path in CONFIGS if path.stem.endswith("_cityscapes")]
ADE20K = [path for path in CONFIGS if path.stem.endswith("_ade20k")]
SEGFORMER = [path for path in CITYSCAPES + ADE20K if path.stem.startswith("segformer")]
SWIN = [path for path in CONFIGS if path.stem.startswith("swin_") and "uper" in path.stem]
PVT_FPN = [path for path in CONFIGS if path.stem.startswith("pvt_") and "_fpn_ade20k" in path.stem]
BTCV = [path for path in CONFIGS if path.stem.endswith("_btcv")]
VOLUMES = [path for path in CONFIGS if path.stem.endswith("_hippocampus") and not path.stem.startswith("dino_")]
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
    pvt_v1_small_fpn_ade20k=41.9,
    pvt_v2_b2_fpn_ade20k=45.2,
    swin_tiny_uper_ade20k=44.51,
    swin_small_uper_ade20k=47.64,
    vit_base_uper_ade20k=45.36,
)
# Millions of parameters as their papers print them, auxiliary heads included.
PRINTED = dict(
    pvt_v1_small_fpn_ade20k=28.2, pvt_v2_b2_fpn_ade20k=29.1, swin_tiny_uper_ade20k=60, swin_small_uper_ade20k=81
)
UNPUBLISHED = (
    "dino_mit_b0_camvid",
    "dino_mit_b0_hippocampus",
    "cait_xxs24_all_mlp_camvid",
    "cait_xxs24_all_mlp_hippocampus",
    "camvid_short",
    "timesformer_base_clips",
    "bit_r50x1_all_mlp_camvid",
    "bit_r50x1_all_mlp_hippocampus",
    "resnet18_all_mlp_camvid",
    "resnet18_all_mlp_hippocampus",
    "vt_resnet18_all_mlp_camvid",
    "vt_resnet18_all_mlp_hippocampus",
    "clip_resnet50_all_mlp_camvid",
    "clip_resnet50_all_mlp_hippocampus",
    "ceit_tiny_all_mlp_camvid",
    "clip_vit_base_p32_all_mlp_camvid",
    "ceit_tiny_all_mlp_hippocampus",
    "deepvit_16b_all_mlp_camvid",
    "deepvit_16b_all_mlp_hippocampus",
    "convmixer_768_32_all_mlp_camvid",
    "convmixer_768_32_all_mlp_hippocampus",
    "dinov2_small_all_mlp_camvid",
    "dinov3_convnext_tiny_all_mlp_camvid",
    "dinov3_vit_small_all_mlp_camvid",
    "dinov3_vit_small_all_mlp_hippocampus",
    "dynunet_hippocampus",
    "eva02_tiny_all_mlp_camvid",
    "mednext_small_hippocampus",
    "mit_b0_all_mlp_hippocampus",
    "mit_b0_unetr_hippocampus",
    "mit_b2_vt_fpn_camvid",
    "mixer_small_p16_all_mlp_camvid",
    "mixer_small_p16_all_mlp_hippocampus",
    "mvit_v2_small_all_mlp_cityscapes",
    "plain_conv_unet_hippocampus",
    "primus_v3_small_hippocampus",
    "pvt_v2_b0_all_mlp_3d_sts",
    "pvt_v2_b2_vt_fpn_cityscapes",
    "resenc_unet_hippocampus",
    "swin_base_uper_cityscapes",
    "timesformer_base_all_mlp_camvid",
    "timesformer_base_all_mlp_hippocampus",
    "swin_unetr_hippocampus",
    "t2t_vit_7_all_mlp_camvid",
    "t2t_vit_7_all_mlp_hippocampus",
    "unetr_hippocampus",
    "unetr_synthetic_ct",
    "vit_tiny_r_s16_p8_all_mlp_camvid",
    "vit_tiny_r_s16_p8_all_mlp_hippocampus",
    "xcit_nano_12_p16_all_mlp_camvid",
    "xcit_nano_12_p8_all_mlp_hippocampus",
    "volo_d1_all_mlp_camvid",
)


def name(path):
    return path.stem


@cache
def load_config(path):
    """The config, which is frozen; skipped where the package of its network is not installed."""
    if 'backbone="dna.' in path.read_text():
        import_peer("dynamic_network_architectures")
    return train.load_config(path)


def docstring(path):
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_the_promised_configs_are_there():
    promised = {*SCORES, *UNPUBLISHED, "segformer_b0_camvid", "segformer_b0_synthetic"}
    promised |= {"unetr_btcv", "swin_unetr_btcv"}
    assert promised <= {path.stem for path in CONFIGS}


@cache
def built(path):
    """The segmentor or the classifier of a config, on the meta device."""
    config = load_config(path)
    with torch.device("meta"):
        if config.task == "clip":
            return config.model.create(vocab=512 + (config.tokenizer or 0))
        return create_model(config.model) if hasattr(config.model, "decoder") else config.model.create()


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_loads_and_builds_its_model(path):
    config, model = load_config(path), built(path)
    assert model.in_channels == config.model.in_channels
    assert config.task in ("clip", "dino") or model.num_classes == config.model.num_classes


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_a_config_states_command_time_and_score(path):
    text = docstring(path)
    assert re.search(rf"Command: `.*configs/{path.name}", text)
    assert "\nTime: " in text
    assert "\nScore: " in text
    if path.stem in SCORES:
        assert f"Score: {SCORES[path.stem]} mIoU" in text
    if path.stem in UNPUBLISHED:
        assert "Score: none published" in text


@pytest.mark.parametrize("path", CONFIGS, ids=name)
def test_position_tables_and_tokens_do_not_decay_where_norms_do_not(path):
    if load_config(path).task == "dino":  # whose authors let all decay that has two axes
        return
    words = load_config(path).optimizer.no_decay
    tables = [name for name, _ in built(path).named_parameters() if not name.endswith((".weight", ".bias"))]
    assert not words or [name for name in tables if not any(word in name for word in words)] == []


@pytest.mark.parametrize("path", SEGFORMER, ids=name)
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
    assert optimizer.lr_multipliers == dict(decoder=10.0, head=10.0)
    schedule = config.schedule
    assert (schedule.type, schedule.power, schedule.min_lr) == ("poly", 1.0, 0.0)
    assert (schedule.warmup_iters, schedule.warmup_ratio) == (1500, 1e-6)
    settings = config.train_cfg
    assert (settings.max_iters, settings.accumulate, settings.clip_grad) == (160_000, 1, None)
    assert settings.sync_bn
    assert config.loss == [dict(type="cross_entropy")]
    augment = config.train_data.augment
    assert (augment.scale, augment.cat_max_ratio, augment.flip, augment.photometric) == ((0.5, 2.0), 0.75, 0.5, True)
    assert config.model.backbone_options["drop_path"] == 0.1
    assert config.model.decoder_options["dropout"] == 0.1


def recipe(config):
    """Optimizer, rate, decay, power, warm-up, iterations."""
    optimizer, schedule = config.optimizer, config.schedule
    return (
        optimizer.type,
        optimizer.lr,
        optimizer.weight_decay,
        schedule.power,
        schedule.warmup_iters,
        config.train_cfg.max_iters,
    )


@pytest.mark.parametrize("path", SWIN, ids=name)
def test_swin_with_upernet_is_trained_as_published(path):
    config = load_config(path)
    assert recipe(config) == ("AdamW", 6e-5, 0.01, 1.0, 1500, 160_000)
    assert config.optimizer.no_decay == ("norm", "relative_position_bias_table", "pos_embed")
    assert config.optimizer.lr_multipliers == {}
    assert config.model.backbone_options["drop_path"] == 0.3
    assert config.model.decoder_options == dict(dim=512, dropout=0.1)
    assert config.auxiliary == [AuxiliaryOptions(level=2, dim=256, weight=0.4, dropout=0.1, loss=None)]


def test_vit_with_upernet_is_trained_as_mmsegmentation_does():
    config = load_config(REPOSITORY / "configs" / "vit_base_uper_ade20k.py")
    assert recipe(config) == ("AdamW", 6e-5, 0.01, 1.0, 1500, 160_000)
    assert config.optimizer.no_decay == ("norm", "pos_embed", "cls_token")
    assert config.model.backbone_options == dict(drop_path=0.1, norm="none", num_tokens=1)
    assert (config.auxiliary[0].level, config.auxiliary[0].weight) == (3, 0.4)


@pytest.mark.parametrize("path", PVT_FPN, ids=name)
def test_pvt_with_semantic_fpn_is_trained_as_published(path):
    config = load_config(path)
    lr, batch_size = (2e-4, 4) if path.stem.startswith("pvt_v1") else (1e-4, 2)
    assert recipe(config) == ("AdamW", lr, 1e-4, 0.9, 0, 40_000)
    assert config.train_data.batch_size == batch_size
    assert config.optimizer.no_decay == ()
    assert config.optimizer.lr_multipliers == {}
    assert config.model.backbone_options["drop_path"] == 0.1
    assert config.model.decoder_options == dict(dim=256, head_dim=128, dropout=0.1)


@pytest.mark.parametrize("stem", PRINTED)
def test_a_model_has_as_many_parameters_as_its_paper_prints(stem):
    with torch.device("meta"):
        model = create_segment_model(load_config(REPOSITORY / "configs" / f"{stem}.py"))
    count = sum(p.numel() for p in model.parameters())
    assert count / 1e6 == pytest.approx(PRINTED[stem], abs=0.5 if PRINTED[stem] == round(PRINTED[stem]) else 0.05)


@pytest.mark.parametrize("path", VOLUMES, ids=name)
def test_volumes_are_cropped_and_scored_by_case(path):
    config = load_config(path)
    assert (config.model.spatial_dims, config.model.in_channels, config.model.num_classes) == (3, 1, 3)
    assert config.train_cfg.best == "mCaseDice"
    assert {term["type"] for term in config.loss} == {"cross_entropy", "dice"}
    low, high = config.train_data.augment.scale
    assert low < config.inference.scales[0] < high


@pytest.mark.parametrize("path", BTCV, ids=name)
def test_btcv_is_read_and_trained_as_the_published_code_does(path):
    config = load_config(path)
    dataset = config.train_data.dataset
    assert dataset["spacing"] == (2.0, 1.5, 1.5)
    assert dataset["normalization"] == dict(type="window", low=-175.0, high=250.0)
    assert len(dataset["classes"]) == config.model.num_classes == 14
    assert config.train_data.augment.crop_size == config.inference.roi_size == (96, 96, 96)
    assert config.inference.stride == (48, 48, 48)
    assert (config.optimizer.type, config.optimizer.lr, config.optimizer.weight_decay) == ("AdamW", 1e-4, 1e-5)
    crops = config.train_data.batch_size * config.train_cfg.max_iters
    assert crops == 5000 * 24 * 4  # epochs, cases, crops of each


@pytest.mark.parametrize("path", CITYSCAPES, ids=name)
def test_cityscapes_is_cropped_and_tested_as_published(path):
    config = load_config(path)
    data = config.train_data
    assert (data.augment.base_size, data.augment.crop_size, data.batch_size) == ((1024, 2048), (1024, 1024), 1)
    inference = config.inference
    assert (inference.mode, inference.roi_size, inference.stride) == ("slide", (1024, 1024), (768, 768))


@pytest.mark.parametrize("path", [path for path in CITYSCAPES if path in SEGFORMER], ids=name)
def test_segformers_have_their_parameters(path):
    variant = path.stem.split("_")[1]
    assert sum(p.numel() for p in built(path).parameters()) == PARAMETERS[variant]


@pytest.mark.parametrize("path", ADE20K, ids=name)
def test_ade20k_is_cropped_and_tested_as_published(path):
    config = load_config(path)
    data = config.train_data
    assert (data.augment.base_size, data.augment.crop_size) == ((512, 2048), (512, 512))
    assert data.batch_size == (4 if path.stem.startswith("pvt_v1") else 2)
    assert (config.inference.mode, config.inference.base_size) == ("whole", (512, 2048))
    assert config.model.num_classes == 150
