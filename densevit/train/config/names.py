"""Check the names in a config (models, losses, optimizers, schedules, datasets) against what is registered."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

from densevit.data.create import check_dataset_config
from densevit.losses import create_loss
from densevit.registry import BACKBONES, DECODERS, NETWORKS, check_known
from densevit.segmentor import Segmentor, create_backbone, create_segmentor
from densevit.train.auxiliary import create_supervision
from densevit.train.optim import OPTIMIZERS, SCHEDULES


def check_names(config: Mapping[str, Any]) -> None:
    """Raise ValueError or KeyError, in one sentence, for a name or option that nothing answers to."""
    model = _check_model(config["model"])
    create_loss(config["loss"])
    with torch.device("meta"):
        create_supervision(config, model, ignore_index=255)
    _check_choice("optimizer.type", config["optimizer"]["type"], OPTIMIZERS)
    _check_optimizer_options(config["optimizer"])
    _check_choice("schedule.type", config["schedule"]["type"], SCHEDULES)
    for section in ("train_data", "val_data", "test_data"):
        if config[section] is not None:
            _check_dataset(config[section]["dataset"], f"{section}.dataset")
    _check_numbers(config)


def _check_model(model: Mapping[str, Any]) -> Segmentor:
    """Names and options; then the model itself without memory or work, for what only the builders know."""
    if model["decoder"] is None:
        _check_network(model)
    else:
        _check_choice("model.backbone", model["backbone"], BACKBONES.names())
        _check_choice("model.decoder", model["decoder"], DECODERS.names())
        shared = [*signature(create_backbone).parameters, *BACKBONES.keywords(model["backbone"])]
        _check_keys("model.backbone_options", model["backbone_options"], shared)
        _check_keys("model.decoder_options", model["decoder_options"], DECODERS.keywords(model["decoder"]))
    try:
        with torch.device("meta"):
            return create_segmentor(**{**model, "weights": None, "backbone_options": _without_weights(model)})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"model: {error.args[0]}") from None


def _check_network(model: Mapping[str, Any]) -> None:
    """A whole network's options; that a name is none, `create_segmentor` says."""
    if model["backbone"] in NETWORKS:
        _check_keys("model.backbone_options", model["backbone_options"], NETWORKS.keywords(model["backbone"]))


def _without_weights(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in model["backbone_options"].items() if key != "weights"}


def _check_optimizer_options(section: Mapping[str, Any]) -> None:
    known = signature(OPTIMIZERS[section["type"]]).parameters
    for key in ("betas", "eps", "momentum", "nesterov"):
        if section[key] is not None and key not in known:
            raise ValueError(f"optimizer {section['type']} has no option {key!r}; take optimizer.{key} out")


def _check_dataset(dataset: dict[str, Any], where: str) -> None:
    try:
        check_dataset_config(dataset)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check_keys(where: str, options: Mapping[str, Any], keywords: list[str]) -> None:
    """`keywords` also hold what the model's own sections set, which options may not."""
    taken = ("self", "name", "options", "spatial_dims", "in_channels", "in_strides", "num_classes")
    known = sorted({word for word in keywords if word not in taken})
    for key in options:
        check_known(key, known, what="unknown key", prefix=f"{where}.")


def _check_choice(where: str, name: Any, known: Any) -> None:
    check_known(name, known, what=f"unknown {where}")


def _check_numbers(config: Mapping[str, Any]) -> None:
    """Numbers that no run could use."""
    least = {
        "train_cfg": ("max_iters", "val_interval", "checkpoint_interval", "log_interval", "accumulate", "max_keep"),
        "train_data": ("batch_size",),
        "inference": ("batch_size",),
    }
    for section, keys in least.items():
        for key in keys:
            if config[section][key] < 1:
                raise ValueError(f"{section}.{key} must be at least 1, got {config[section][key]}")
    ema = config["train_cfg"]["ema"]
    if ema is not None and not 0 < ema < 1:
        raise ValueError(f"train_cfg.ema must lie between 0 and 1, got {ema}")
    clip = config["train_cfg"]["clip_grad"]
    if clip is not None and clip <= 0:
        raise ValueError(f"train_cfg.clip_grad must be above 0, got {clip}")
    inference = config["inference"]
    three = config["model"]["spatial_dims"] == 3
    if three and inference["base_size"] is not None:
        raise ValueError("inference.base_size is for pictures; volumes are seen at another size by inference.scales")
    if three and config["train_data"]["rare_class_sampling"]:
        raise ValueError("rare_class_sampling is for pictures; volumes are cropped by train_data.augment.foreground")
    weights, classes = config["train_data"]["augment"].get("foreground_weights"), config["model"]["num_classes"]
    if weights is not None and len(weights) != classes:
        raise ValueError(
            f"train_data.augment.foreground_weights has {len(weights)} numbers and the model {classes} classes; "
            "give one for each class, background first"
        )
    if config["train_cfg"]["best"] == "mCaseDice" and not three:
        raise ValueError("train_cfg.best 'mCaseDice' is the mean over the cases of 3D data; use 'mIoU' or 'mDice'")
    if inference["mode"] != "whole" and inference["roi_size"] is None:
        raise ValueError(f"inference.mode {inference['mode']!r} needs inference.roi_size, such as (1024, 1024)")
