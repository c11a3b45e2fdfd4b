"""MONAI's segmentation networks under their own names: `create_segmentor("monai.SegResNet", None, num_classes=3, ...)`.

Legend: B batch, C image channels, K classes, *S spatial size.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature, signature
from math import prod
from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.registry import register_network

NAMES = (
    "AttentionUnet",
    "BasicUNet",
    "DynUNet",
    "FlexibleUNet",
    "HighResNet",
    "MedNeXt",
    "SegResNet",
    "SegResNetDS",
    "SwinUNETR",
    "UNETR",
    "UNet",
    "VNet",
)
COARSEST = 32  # a multiple of the whole stride of the networks that are not listed below


class MonaiNetwork(nn.Module):
    """A whole network in place of a backbone; its maps are logits: (B, C, *S) -> [(B, K, *S_i)], fine to coarse.

    Images may have any size: zeros fill them up to multiples of `divisor` (one number per spatial dimension), and
    logits are cropped back. A network with deep supervision gives `num_maps` maps in training, else only the first.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int],
        num_maps: int = 1,
    ):
        super().__init__()
        self.network = network
        self.spatial_dims = spatial_dims
        self.in_channels = in_channels
        self.out_channels = (num_classes,) * num_maps
        self.out_strides = (1,) * num_maps  # MONAI does not say how coarse its maps are
        self.divisor = nd.ntuple(divisor, spatial_dims)
        if min(self.divisor) < 1:
            raise ValueError(f"divisor must be at least 1 on every axis, got {divisor!r}")

    def forward(self, x: Tensor) -> list[Tensor]:
        if x.ndim != self.spatial_dims + 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"expected (B, {self.in_channels}, *S) with {self.spatial_dims} spatial dimensions, "
                f"got shape {tuple(x.shape)}; set in_channels and spatial_dims when the model is made"
            )
        padded = x
        if any(s % d for s, d in zip(x.shape[2:], self.divisor, strict=True)):
            padded = nd.to_image(nd.pad_to_multiple(nd.to_grid(x), self.divisor)).contiguous()
        maps = self._maps(self.network(padded))
        return [self._cut(part, x.shape[2:], padded.shape[2:]) for part in maps]

    def _maps(self, output: Any) -> list[Tensor]:
        if isinstance(output, Tensor):  # DynUNet stacks its maps, (B, maps, K, *S)
            maps = list(output.unbind(1)) if output.ndim == self.spatial_dims + 3 else [output]
        else:
            maps = list(output) if isinstance(output, list | tuple) else []
        wanted = len(self.out_channels) if self.training else 1
        shapes = [tuple(part.shape) for part in maps if isinstance(part, Tensor)]
        right = [shape for shape in shapes if len(shape) == self.spatial_dims + 2 and shape[1] == self.out_channels[0]]
        if len(right) != len(maps) or len(maps) not in (wanted, len(self.out_channels)):
            raise ValueError(
                f"{type(self.network).__name__} gave {shapes or type(output).__name__}, and {wanted} maps "
                f"(B, {self.out_channels[0]}, *S) are expected; it is no network for segmentation, or its options "
                "make it give others"
            )
        return maps[:wanted]

    def _cut(self, logits: Tensor, size: Sequence[int], padded: Sequence[int]) -> Tensor:
        """The part of a map of the padded image that lies on the image itself."""
        sizes = [-(-s * m // p) for s, m, p in zip(size, logits.shape[2:], padded, strict=True)]
        return nd.to_image(nd.crop(nd.to_grid(logits), sizes))

    def set_checkpointing(self, enabled: bool = True) -> None:
        """ValueError if enabled: only densevit's own backbones recompute."""
        if enabled:
            raise ValueError(
                f"{type(self.network).__name__} is MONAI's and cannot recompute its blocks; set checkpointing=False"
            )


def _strides(options: Mapping[str, Any], spatial_dims: int) -> tuple[int, ...]:
    """The product of all strides; each is one number, or one per spatial dimension."""
    each = [nd.ntuple(stride, spatial_dims) for stride in options["strides"]]
    return tuple(prod(axis) for axis in zip(*each, strict=True))


def _halvings(options: Mapping[str, Any], _: int) -> int:
    return 2 ** (len(options["blocks_down"]) - 1)


# The numbers that sizes must be multiples of, from (options, spatial_dims). UNETR takes only one size.
_DIVISORS: dict[str, Callable[[Mapping[str, Any], int], int | Sequence[int]]] = {
    "AttentionUnet": _strides,
    "DynUNet": _strides,
    "HighResNet": lambda options, _: 1,
    "SegResNet": _halvings,
    "UNETR": lambda options, _: options["img_size"],
    "UNet": _strides,
}


def _num_maps(network: nn.Module) -> int:
    """How many maps a network gives in training."""
    if isinstance(network, nets.DynUNet):
        return network.deep_supr_num + 1 if network.deep_supervision else 1
    return network.dsdepth if isinstance(network, nets.SegResNetDS) else 1


def _builder(name: str) -> Callable[..., MonaiNetwork]:
    kind = getattr(nets, name)
    parameters = signature(kind).parameters

    def build(
        *,
        spatial_dims: int,
        in_channels: int,
        num_classes: int,
        divisor: int | Sequence[int] | None = None,
        **options: Any,
    ) -> MonaiNetwork:
        # Always on the CPU, because some of these constructors read numbers from tensors.
        device = torch.get_default_device()
        with torch.device("cpu"):
            network = kind(spatial_dims=spatial_dims, in_channels=in_channels, out_channels=num_classes, **options)
        given = {key: parameter.default for key, parameter in parameters.items()} | options
        if divisor is None and isinstance(network, nets.SegResNetDS):
            divisor = network.shape_factor()
        if divisor is None:
            divisor = _DIVISORS.get(name, lambda *_: COARSEST)(given, spatial_dims)
        return MonaiNetwork(
            network.to(device),
            spatial_dims=spatial_dims,
            in_channels=in_channels,
            num_classes=num_classes,
            divisor=divisor,
            num_maps=_num_maps(network),
        )

    theirs = [p.replace(kind=Parameter.KEYWORD_ONLY) for key, p in parameters.items() if key != "out_channels"]
    names = [p.name for p in theirs]
    ours = [Parameter(key, Parameter.KEYWORD_ONLY) for key in ("num_classes", "divisor") if key not in names]
    build.__signature__ = Signature([*theirs, *ours])
    return build


for _name in NAMES:
    register_network({f"monai.{_name}": {}})(_builder(_name))
