"""MONAI's segmentation networks under their own names: `create_segmentor("monai.SegResNet", None, num_classes=3, ...)`.

MedNeXtS, B, M and L are the variants of its paper (https://arxiv.org/abs/2303.09975), with kernels of 3 by default.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from math import prod
from typing import Any

from monai.networks import nets
from monai.networks.nets.mednext import create_mednext
from torch import nn

from densevit.blocks import nd
from densevit.integrations.whole import WholeNetwork, build_on_cpu, state_keywords
from densevit.registry import register_network

NAMES = (
    "AttentionUnet",
    "BasicUNet",
    "DynUNet",
    "FlexibleUNet",
    "HighResNet",
    "MedNeXt",
    "MedNeXtB",
    "MedNeXtL",
    "MedNeXtM",
    "MedNeXtS",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "UNETR",
    "UNet",
    "VNet",
)
VARIANTS_OF_MEDNEXT = ("MedNeXtB", "MedNeXtL", "MedNeXtM", "MedNeXtS")
COARSEST = 32  # a multiple of the whole stride of the networks that are not listed below


def _strides(options: Mapping[str, Any], spatial_dims: int) -> tuple[int, ...]:
    """The product of all strides; each is one number, or one per spatial dimension."""
    each = [nd.ntuple(stride, spatial_dims) for stride in options["strides"]]
    return tuple(prod(axis) for axis in zip(*each, strict=True))


def _halvings(options: Mapping[str, Any], _: int) -> int:
    return 2 ** (len(options["blocks_down"]) - 1)


def _mednext(options: Mapping[str, Any], _: int) -> int:
    return 2 ** len(options.get("blocks_down", range(4)))  # four in every variant


# The numbers that sizes must be multiples of, from (options, spatial_dims). UNETR takes only one size.
_DIVISORS: dict[str, Callable[[Mapping[str, Any], int], int | Sequence[int]]] = {
    "AttentionUnet": _strides,
    "DynUNet": _strides,
    "HighResNet": lambda options, _: 1,
    **dict.fromkeys((name for name in NAMES if name.startswith("MedNeXt")), _mednext),
    "SegResNet": _halvings,
    "UNETR": lambda options, _: options["img_size"],
    "UNet": _strides,
}


def _num_maps(network: nn.Module) -> int:
    """How many maps a network gives in training."""
    if isinstance(network, nets.DynUNet):
        return network.deep_supr_num + 1 if network.deep_supervision else 1
    if isinstance(network, nets.MedNeXt):
        return len(network.out_blocks) + 1 if network.do_ds else 1
    return network.dsdepth if isinstance(network, nets.SegResNetDS) else 1


def _builder(name: str) -> Callable[..., WholeNetwork]:
    kind = getattr(nets, name)
    parameters = signature(create_mednext if name in VARIANTS_OF_MEDNEXT else kind).parameters

    def build(
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int] | None = None,
        **options: Any,
    ) -> WholeNetwork:
        shape = dict(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=num_classes)
        network = build_on_cpu(lambda: kind(**shape, **options))
        given = {key: parameter.default for key, parameter in parameters.items()} | options
        if divisor is None and isinstance(network, nets.SegResNetDS):
            divisor = network.shape_factor()
        if divisor is None:
            divisor = _DIVISORS.get(name, lambda *_: COARSEST)(given, spatial_dims)
        return WholeNetwork(
            network,
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            divisor=divisor,
            num_maps=_num_maps(network),
        )

    given_here = ("out_channels", "variant")
    state_keywords(build, (parameter for key, parameter in parameters.items() if key not in given_here))
    return build


for _name in NAMES:
    register_network({f"monai.{_name}": {}})(_builder(_name))
