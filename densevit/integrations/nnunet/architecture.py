"""The network of a configuration as our model's description, `create_segmentor(**description)`."""

import re
from collections.abc import Mapping
from typing import Any

from densevit.integrations.nnunet.plans import Configuration
from densevit.quoting import shown

RESIDUAL = {"PlainConvUNet": False, "ResidualEncoderUNet": True}
# Trainers whose networks are others than the plans say, and what they change.
BATCH_NORM = "nnUNetTrainerBN"
PRIMUS = re.compile(r"nnUNet_Primus(?:_|V([23]))([SBML])_Trainer\w*")
SIZES = dict(S="small", B="base", M="medium", L="large")
# Arguments that change nothing in prediction, or nothing by the values that planners write.
UNUSED = ("n_stages", "dropout_op", "dropout_op_kwargs", "deep_supervision", "conv_op")
SLOPES = {"LeakyReLU": 0.01, "ReLU": 0.0}
NORMS = {"InstanceNorm": "instance", "BatchNorm": "batch"}


def describe_model(
    configuration: Configuration, *, in_channels: int, num_classes: int, num_folds: int, trainer: str, regions: bool
) -> dict[str, Any]:
    """Keywords of `create_segmentor`; of `regions` the background is no output of the network.

    ValueError for a network that is neither a U-Net of nnU-Net's planners nor a Primus.
    """
    shape = dict(num_classes=num_classes, spatial_dims=len(configuration.patch_size), in_channels=in_channels)
    primus = PRIMUS.fullmatch(trainer)
    if primus is not None:
        if num_folds > 1 or regions:
            raise ValueError(
                f"{configuration.path} is of a Primus, of which one fold is imported, and no overlapping regions; give "
                "--folds 0 (folds=[0] in Python), or predict it with nnU-Net"
            )
        backbone = f"primus_{f'v{primus[1]}_' if primus[1] else ''}{SIZES[primus[2]]}"
        options = dict(image_size=list(configuration.patch_size))
        return dict(backbone=backbone, decoder="patch_decode", **shape, backbone_options=options)
    options = _new_style(configuration) if "architecture" in configuration.content else _old_style(configuration)
    residual = options.pop("residual")
    if trainer == BATCH_NORM:
        options["norm"] = "batch"
    return dict(
        backbone="dna.ResUNet" if residual else "dna.UNet",
        decoder=None,
        **shape,
        backbone_options={**options, "num_folds": num_folds, "background": not regions},
    )


def _old_style(configuration: Configuration) -> dict[str, Any]:
    """Of plans that hold the numbers of a U-Net."""
    get = configuration.get
    base, most = get("UNet_base_num_features", int), get("unet_max_num_features", int)
    depths = get("n_conv_per_stage_encoder", list[int])
    return dict(
        residual=_is_residual(configuration, get("UNet_class_name", str)),
        dims=[min(base * 2**stage, most) for stage in range(len(depths))],
        kernel_sizes=get("conv_kernel_sizes", list[list[int]]),
        strides=get("pool_op_kernel_sizes", list[list[int]]),
        depths=depths,
        decoder_depths=get("n_conv_per_stage_decoder", list[int]),
    )


def _new_style(configuration: Configuration) -> dict[str, Any]:
    """Of plans that name a class and its arguments; nothing of what they name is imported."""
    architecture = configuration.get("architecture", dict[str, Any])
    given = {**_dict(architecture.get("arch_kwargs"))}
    residual = _is_residual(configuration, str(architecture.get("network_class_name")))
    names = dict(dims="features_per_stage", kernel_sizes="kernel_sizes", strides="strides")
    names |= dict(depths="n_blocks_per_stage" if residual else "n_conv_per_stage")
    names |= dict(decoder_depths="n_conv_per_stage_decoder")
    missing = [name for name in names.values() if name not in given]
    if missing:
        raise ValueError(f"{_where(configuration)} lacks {', '.join(missing)}, of which the network is made")
    options = {ours: given.pop(theirs) for ours, theirs in names.items()}
    count = given.get("n_stages")
    for name in ("dims", "kernel_sizes", "strides", "depths", "decoder_depths"):
        if isinstance(options[name], int):  # which nnU-Net takes for every stage
            options[name] = [options[name]] * (count - (name == "decoder_depths"))
    norm = _dict(given.pop("norm_op_kwargs", None))
    activation = _dict(given.pop("nonlin_kwargs", None))
    options |= dict(
        residual=residual,
        bias=bool(given.pop("conv_bias", False)),
        norm=NORMS[_named(configuration, "norm_op", given.pop("norm_op", None), NORMS)],
        norm_eps=norm.pop("eps", 1e-5),
        norm_affine=norm.pop("affine", False),
        negative_slope=SLOPES[_named(configuration, "nonlin", given.pop("nonlin", None), SLOPES)],
        norm_last=bool(given.pop("nonlin_first", False)),
    )
    options["negative_slope"] = activation.pop("negative_slope", options["negative_slope"])
    activation.pop("inplace", None)
    others = {key: value for key, value in given.items() if key not in UNUSED and value is not None}
    others |= {f"norm_op_kwargs.{key}": value for key, value in norm.items()}
    others |= {f"nonlin_kwargs.{key}": value for key, value in activation.items()}
    if others:
        key, value = next(iter(others.items()))
        raise ValueError(
            f"{_where(configuration)} has {key}={shown(value)}, which nnU-Net's own planners do not write and this "
            "import does not know; predict it with nnU-Net"
        )
    return options


def _is_residual(configuration: Configuration, name: str) -> bool:
    short = name.rpartition(".")[2]
    if short not in RESIDUAL:
        raise ValueError(
            f"{_where(configuration)} names the network {shown(name)}, and {' and '.join(RESIDUAL)} are known here; "
            "predict it with nnU-Net"
        )
    return RESIDUAL[short]


def _named(configuration: Configuration, key: str, given: Any, known: Mapping[str, Any]) -> str:
    """The known class that a dotted name such as torch.nn.modules.instancenorm.InstanceNorm3d ends with."""
    short = str(given).rpartition(".")[2]
    found = next((name for name in known if short in (name, f"{name}2d", f"{name}3d")), None)
    if found is None:
        raise ValueError(
            f"{_where(configuration)} has {key}={shown(given)}, and {' and '.join(known)} are known here; predict it "
            "with nnU-Net"
        )
    return found


def _dict(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _where(configuration: Configuration) -> str:
    return f"{configuration.path}: configurations.{configuration.name}"
