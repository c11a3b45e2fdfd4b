"""nnU-Net's U-Nets, built stage by stage from numbers alone, as a plan or a checkpoint holds them.

Legend: B batch, C image channels, K classes, *S spatial size.
"""

from collections.abc import Sequence
from math import prod

import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from dynamic_network_architectures.building_blocks.simple_conv_blocks import ConvDropoutNormReLU
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.integrations.whole import WholeNetwork
from densevit.registry import check_known, register_network

Sizes = Sequence[int | Sequence[int]]  # one entry a stage: a number, or one for each axis
NORMS = {"instance": nd.INSTANCE_NORM, "batch": nd.BATCH_NORM}


def build_unet(
    *,
    spatial_dims: int,
    in_channels: int,
    num_classes: int,
    residual: bool,
    dims: Sequence[int],
    kernel_sizes: Sizes,
    strides: Sizes,
    depths: Sequence[int],
    decoder_depths: Sequence[int],
    bias: bool = True,
    norm: str = "instance",
    norm_eps: float = 1e-5,
    norm_affine: bool = True,
    negative_slope: float = 0.01,
    norm_last: bool = False,
    deep_supervision: bool = False,
) -> nn.Module:
    """(B, C, *S) -> (B, K, *S): a U-Net of plain convolutions, or with residual blocks in its encoder.

    The first stage is the finest; `depths` count convolutions or residual blocks, `decoder_depths` begin with the
    coarsest stage. `norm_last` puts each activation before its norm.
    """
    check_known(norm, NORMS, what="no norm named")
    count = len(dims)
    of_stages = dict(kernel_sizes=kernel_sizes, strides=strides, depths=depths, decoder_depths=decoder_depths)
    for name, given in of_stages.items():
        wanted = count - (name == "decoder_depths")
        if len(given) != wanted or count < 2:
            raise ValueError(f"{name} has {len(given)} entries, and a U-Net of {count} stages has {max(wanted, 1)}")
    last = dict(nonlin_first=True) if norm_last and not residual else {}
    return (ResidualEncoderUNet if residual else PlainConvUNet)(
        in_channels,
        count,
        list(dims),
        nd.CONV[spatial_dims],
        [list(nd.ntuple(size, spatial_dims)) for size in kernel_sizes],
        [list(nd.ntuple(size, spatial_dims)) for size in strides],
        list(depths),
        num_classes,
        list(decoder_depths),
        conv_bias=bias,
        norm_op=NORMS[norm][spatial_dims],
        norm_op_kwargs=dict(eps=norm_eps, affine=norm_affine),
        nonlin=nn.LeakyReLU,
        nonlin_kwargs=dict(inplace=True, negative_slope=negative_slope),
        deep_supervision=deep_supervision,
        **last,
    )


class MeanOfFolds(nn.Module):
    """Networks of one kind, trained on the folds of one set: the mean of their logits, (B, C, *S) -> (B, K, *S)."""

    def __init__(self, folds: Sequence[nn.Module]):
        super().__init__()
        self.folds = nn.ModuleList(folds)

    def forward(self, x: Tensor) -> Tensor:
        first, *others = self.folds
        total = first(x)
        for network in others:
            total = total.add_(network(x))
        return total.div_(len(self.folds))


class WithBackground(nn.Module):
    """A network of classes that overlap, (B, C, *S) -> (B, K - 1, *S), after a class whose logit is 0: (B, K, *S)."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits = self.network(x)
        return torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)


@register_network({"dna.UNet": dict(residual=False), "dna.ResUNet": dict(residual=True)})
def unet_of_stages(
    *,
    spatial_dims: int = 3,
    in_channels: int,
    num_classes: int,
    residual: bool,
    dims: Sequence[int],
    kernel_sizes: Sizes,
    strides: Sizes,
    depths: Sequence[int],
    decoder_depths: Sequence[int],
    bias: bool = True,
    norm: str = "instance",
    norm_eps: float = 1e-5,
    norm_affine: bool = True,
    negative_slope: float = 0.01,
    norm_last: bool = False,
    num_folds: int = 1,
    background: bool = True,
) -> WholeNetwork:
    """The U-Net of these stages, see `build_unet`; or `num_folds` of them, whose logits are averaged.

    Where the first class, the background, is no output of theirs, its logit is 0. There is no deep supervision, and
    each parameter is there once, by the name that nnU-Net's checkpoints have first.
    """
    options = dict(residual=residual, dims=dims, kernel_sizes=kernel_sizes, strides=strides, depths=depths)
    options |= dict(decoder_depths=decoder_depths, bias=bias, norm=norm, norm_eps=norm_eps, norm_affine=norm_affine)
    options |= dict(negative_slope=negative_slope, norm_last=norm_last)
    shape = dict(spatial_dims=spatial_dims, in_channels=in_channels, num_classes=num_classes)
    if num_folds < 1:
        raise ValueError(f"num_folds must be at least 1, got {num_folds}")
    outputs = shape | dict(num_classes=num_classes - (not background))
    folds = [_with_names_once(build_unet(**outputs, **options)) for _ in range(num_folds)]
    divisor = [prod(axis) for axis in zip(*(nd.ntuple(stride, spatial_dims) for stride in strides), strict=True)]
    network = folds[0] if num_folds == 1 else MeanOfFolds(folds)
    return WholeNetwork(network if background else WithBackground(network), **shape, divisor=divisor)


def _with_names_once(network: nn.Module) -> nn.Module:
    """The same network without the second names that the package gives to parts: weights are stored once."""
    for part in list(network.modules()):
        second = (
            "all_modules" if isinstance(part, ConvDropoutNormReLU) else "encoder" if part is network.decoder else ""
        )
        if second:
            inner = getattr(part, second)
            delattr(part, second)
            object.__setattr__(part, second, inner)  # still found by that name, and no part of its own
    return network
