"""Necks: a pyramid of strides 4, 8, 16 and 32 from the maps of a plain backbone, which all have one stride.

They take any stride that is the same at all levels, in 2D and 3D. Where an axis has a finer stride than another, as in
volumes of thick slices, it is enlarged no further than to the image's own voxels. A stride that is no power of two
(DINOv2's patches of 14 pixels) is first brought to the next one (16) by linear interpolation, in which every place
stays where it lies on the image.
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.options import check_bools
from densevit.registry import check_known

FINEST = 4  # stride of the first level, along the axis whose stride is the largest
WIDEST = 2**16
Stride = tuple[int, ...]  # one entry a spatial dimension


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of each place: (B, C, *S) -> (B, C, *S)."""

    def __init__(self, dim: int):
        super().__init__(dim, eps=1e-6)

    def forward(self, image: Tensor) -> Tensor:
        return nd.to_image(super().forward(nd.to_grid(image)))


class Rescale(nn.Module):
    """A map at another stride: (B, C, *ceil(S / stride)) and S -> (B, C_out, *ceil(S / target)).

    Finer by transposed convolutions of 2 x 2 (x 2), with a norm and GELU between; coarser by taking maxima. Each
    convolution halves the channels where `halving`; else they stay.
    """

    def __init__(
        self, dim: int, *, stride: Stride, target: Stride, make_norm: Callable[[int], nn.Module], halving: bool
    ):
        super().__init__()
        n, steps = len(stride), [stride]
        while max(steps[-1]) > max(target):
            steps.append(tuple(max(s // 2, 1) for s in steps[-1]))
        dims = [max(dim >> i, 1) if halving else dim for i in range(len(steps))]
        kernels = [tuple(a // b for a, b in zip(before, after, strict=True)) for before, after in pairwise(steps)]
        self.ups = nn.ModuleList(
            nd.CONV_TRANSPOSE[n](before, after, kernel, kernel)
            for (before, after), kernel in zip(pairwise(dims), kernels, strict=True)
        )
        self.norms = nn.ModuleList(make_norm(dim) for dim in dims[1:-1])
        merged = tuple(t // s for t, s in zip(target, steps[-1], strict=True))
        self.pool = nd.MAX_POOL[n](merged, merged, ceil_mode=True) if max(merged) > 1 else nn.Identity()
        self.target, self.out_channels = target, dims[-1]

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        for i, up in enumerate(self.ups):
            x = up(F.gelu(self.norms[i - 1](x)) if i else x)
        return _crop(self.pool(x), nd.ceil_div(size, self.target))


class Neck(nn.Module):
    """Maps of one stride [(B, C_i, *ceil(S / stride))] and S -> [(B, out_channels[i], *ceil(S / out_strides[i]))].

    S is the size of the image. `forward` is of each neck.
    """

    def __init__(self, *, spatial_dims: int, in_strides: Sequence[int | Stride], num_levels: int):
        super().__init__()
        strides = [nd.ntuple(stride, spatial_dims) for stride in in_strides]
        if len(set(strides)) > 1:
            raise ValueError(
                "a neck makes a pyramid of maps that all have one stride, and this backbone's have strides "
                f"{', '.join(map(str, in_strides))}; leave neck out"
            )
        self.stride = strides[0]
        self.power = tuple(1 << (s - 1).bit_length() for s in self.stride)
        levels = [FINEST * 2**i for i in range(num_levels)]
        self.targets = [tuple(max(s * level // max(self.power), 1) for s in self.power) for level in levels]
        self.out_strides = tuple(nd.plain(target) for target in self.targets)

    def to_powers(self, image: Tensor, size: Sequence[int]) -> Tensor:
        """A map at a stride that is a power of two: (B, C, *ceil(S / stride)) -> (B, C, *ceil(S / power))."""
        if self.stride == self.power:
            return image
        shrunk = [s / power for s, power in zip(self.stride, self.power, strict=True)]
        padded = F.pad(image, [0, 2] * len(shrunk), mode="replicate")  # cells that reach as far as the larger ones
        mode = nd.LINEAR_MODE[len(shrunk)]
        return _crop(F.interpolate(padded, scale_factor=shrunk, mode=mode), nd.ceil_div(size, self.power))


class SimpleFPN(Neck):
    """The pyramid of ViTDet, from the last map alone. https://arxiv.org/abs/2203.16527

    Each level is rescaled, then projected to `dim` channels and smoothed by a 3 x 3 (x 3) convolution, both normed.
    """

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int | Stride],
        dim: int = 256,
    ):
        super().__init__(spatial_dims=spatial_dims, in_strides=in_strides, num_levels=4)
        if not isinstance(dim, int) or not 1 <= dim <= WIDEST:
            raise ValueError(f"dim of the neck must be a whole number from 1 to {WIDEST}, got {dim!r}")
        self.rescale = nn.ModuleList(
            Rescale(in_channels[-1], stride=self.power, target=target, make_norm=ChannelNorm, halving=True)
            for target in self.targets
        )
        conv = nd.CONV[spatial_dims]
        self.project = nn.ModuleList(
            nn.Sequential(
                conv(rescale.out_channels, dim, 1, bias=False),
                ChannelNorm(dim),
                conv(dim, dim, 3, padding=1, bias=False),
                ChannelNorm(dim),
            )
            for rescale in self.rescale
        )
        self.out_channels = (dim,) * len(self.targets)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        x = self.to_powers(maps[-1], size)
        return [project(rescale(x, size)) for rescale, project in zip(self.rescale, self.project, strict=True)]


class Feature2Pyramid(Neck):
    """Each map at a stride of its own, with the channels that it has, as XCiT, BEiT and mmsegmentation's ViTs have it.

    https://arxiv.org/abs/2106.09681; of a backbone with other than four maps the pyramid has as many levels.
    """

    def __init__(self, *, spatial_dims: int, in_channels: Sequence[int], in_strides: Sequence[int | Stride]):
        super().__init__(spatial_dims=spatial_dims, in_strides=in_strides, num_levels=len(in_strides))
        norm = nd.BATCH_NORM[spatial_dims]
        self.rescale = nn.ModuleList(
            Rescale(dim, stride=self.power, target=target, make_norm=norm, halving=False)
            for dim, target in zip(in_channels, self.targets, strict=True)
        )
        self.out_channels = tuple(in_channels)

    def forward(self, maps: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        return [rescale(self.to_powers(x, size), size) for rescale, x in zip(self.rescale, maps, strict=True)]


NECKS: dict[str, type[Neck]] = dict(simple_fpn=SimpleFPN, feature2pyramid=Feature2Pyramid)


def make_neck(
    neck: str | Mapping[str, Any],
    *,
    spatial_dims: int,
    in_channels: Sequence[int],
    in_strides: Sequence[int | Stride],
) -> Neck:
    """A neck by its name, or by dict(type=its name, and its options); ValueError for what there is not."""
    options = dict(type=neck) if isinstance(neck, str) else neck
    if not isinstance(options, Mapping) or not isinstance(options.get("type"), str):
        raise ValueError(f"neck must be one of {', '.join(NECKS)}, or dict(type=one of them, ...), got {neck!r}")
    name, options = options["type"], {key: value for key, value in options.items() if key != "type"}
    check_known(name, NECKS, what="no neck named")
    takes, shape = signature(NECKS[name]).parameters, dict(in_channels=in_channels, in_strides=in_strides)
    for key in options:
        check_known(key, [own for own in takes if own not in ("spatial_dims", *shape)], what=f"{name} has no option")
    check_bools(takes, options, where="neck.")
    return NECKS[name](spatial_dims=spatial_dims, **shape, **options)


def _crop(image: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *size), a view of the near corner."""
    return nd.to_image(nd.crop(nd.to_grid(image), size))
