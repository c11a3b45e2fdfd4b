"""Skip decoder of UNETR (https://arxiv.org/abs/2103.10504) and Swin UNETR (https://arxiv.org/abs/2201.01266).

The decoder climbs from the coarsest level in steps. At each rung of this ladder a transposed convolution enlarges the
map, and a residual block merges it with the skips of that resolution. The two published models differ in their skips,
and the levels' strides tell which one is meant:
    one stride (plain ViT)  a tower of transposed convolutions on every tap but the last, residual block on the image
    a pyramid               residual blocks on the levels and on the image
"""

from collections.abc import Iterable, Sequence
from itertools import pairwise, zip_longest
from typing import NamedTuple

import torch
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.residual_conv import ResidualConv
from densevit.decoders.base import Decoder, DenseMap, check_sizes
from densevit.registry import DECODERS

Stride = tuple[int, ...]  # one entry a spatial dimension
SMALLEST_DIM = 16


class Rung(NamedTuple):
    """One resolution of the ladder: stride, step to it from the next coarser one, width, features that join here."""

    stride: Stride
    step: Stride
    dim: int
    levels: tuple[int, ...] = ()


class Up(nn.Module):
    """Transposed convolution, then a residual block with the skips: (B, C_in, *S) -> (B, C_out, *size).

    `size` crops what is too much where sizes are odd; None keeps all of S * step.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, step: Stride, num_skips: int = 0):
        super().__init__()
        self.up = nd.CONV_TRANSPOSE[spatial_dims](in_channels, dim, step, step, bias=False)
        self.merge = ResidualConv(spatial_dims, dim * (1 + num_skips), dim)

    def forward(self, x: Tensor, skips: Iterable[Tensor] = (), size: Sequence[int] | None = None) -> Tensor:
        images = [_crop(self.up(x), size), *skips]
        return self.merge(torch.cat(images, dim=1) if len(images) > 1 else images[0])


@DECODERS.register({"unetr": {}})
class UNETRDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, dim, *S_0), S_0 being the finest rung's size: the image's if there is one.

    With `image_channels` the first feature is the image, which has so many channels. `dim` is the width at its
    resolution. Over taps of one stride it is 16 and doubles with each rung below (UNETR's feature size). A pyramid's
    levels keep their widths, and `dim` is the finest one's where that has stride 2 (Swin UNETR); where more rungs lie
    between it and the image, each halves the width, but not below 16.
    """

    takes_image = True
    keeps_places = True  # maps are cropped, never resized

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[int | tuple[int, ...]],
        image_channels: int | None = None,
        dim: int | None = None,
    ):
        strides, channels = [nd.ntuple(stride, spatial_dims) for stride in in_strides], list(in_channels)
        has_image, has_towers = image_channels is not None, len(set(strides)) == 1 and len(_climb(strides[0])) > 1
        if dim is not None:
            check_sizes(dim=dim)
        if dim is not None and not (has_image or has_towers):
            raise ValueError(f"dim={dim} is the width at the image's resolution; leave it out or give image_channels")
        if has_towers:
            rungs = _plan_towers(strides[0], len(channels) - 1, has_image=has_image, dim=dim or SMALLEST_DIM)
        else:
            image_dim = _image_dim(channels[0], strides[0]) if dim is None else dim
            image = [((1,) * spatial_dims, image_dim)] if has_image else []
            rungs = plan_pyramid([*image, *zip(strides, channels, strict=True)])
        widths = [*(rung.dim for rung in rungs), channels[-1]]
        super().__init__(
            spatial_dims=spatial_dims,
            level_channels=widths[:-1] or widths,
            level_strides=[nd.plain(stride) for stride in [rung.stride for rung in rungs] or strides],
            image_channels=image_channels,
        )
        self.rungs, self.has_crop = rungs, has_image or not has_towers
        skips = _towers(spatial_dims, channels, rungs) if has_towers else _blocks(spatial_dims, channels)
        if has_image:
            skips.insert(0, ResidualConv(spatial_dims, image_channels, rungs[0].dim))
        self.skips = nn.ModuleList(skips)
        self.ups = nn.ModuleList(
            Up(spatial_dims, coarse, fine, step=rung.step, num_skips=len(rung.levels))
            for rung, (fine, coarse) in zip(rungs, pairwise(widths), strict=True)
        )

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """All rungs' maps, fine to coarse: (B, level_channels[i], *S_i) each."""
        x, maps, size = self.skips[-1](features[-1]), [], None
        for up, rung in zip(reversed(self.ups), reversed(self.rungs), strict=True):
            if self.has_crop:  # taps without an image do not tell the image's size
                size = nd.ceil_div(features[0].shape[2:], _divide(rung.stride, self.rungs[0].stride))
            skips = (_crop(self.skips[i](features[i]), size) for i in rung.levels)  # each is gone when it has joined
            x = up(x, skips, size)
            maps.insert(0, x)
        return [DenseMap(x) for x in maps or [x]]


def _plan_towers(stride: Stride, num_skips: int, *, has_image: bool, dim: int) -> list[Rung]:
    """A rung for every step from the taps up to the image, the deeper taps at the coarser ones; UNETR has 3 and 3."""
    climb = _climb(stride)
    inner = len(climb) - 1  # rungs between the taps' own and the image's
    free = max(inner - num_skips, 0)  # the finest of them stay without a tap
    places = [1 + (free + i if free else i * inner // num_skips) for i in range(num_skips)]
    joining = [[0] if has_image else []] + [
        [i + has_image for i, place in enumerate(places) if place == k] for k in range(1, len(climb))
    ]
    rungs = [Rung(*pair, dim << k, tuple(joining[k])) for k, pair in enumerate(climb)]
    return rungs if has_image else rungs[1:]


def plan_pyramid(levels: Sequence[tuple[Stride, int]]) -> list[Rung]:
    """A rung for every level (stride, width) but the coarsest, and more where two are further apart than a step."""
    rungs = []
    for i, ((fine, dim), (coarse, wider)) in enumerate(pairwise(levels)):
        if any(c % f for f, c in zip(fine, coarse, strict=True)):
            raise ValueError(f"unetr climbs in whole steps, so stride {coarse} must be a multiple of the finer {fine}")
        one = (1,) * len(fine)  # two levels of one stride
        for k, (stride, step) in enumerate(_climb(_divide(coarse, fine)) or [(one, one)]):
            stride = tuple(s * f for s, f in zip(stride, fine, strict=True))
            rungs.append(Rung(stride, step, min(dim << k, max(dim, wider)), () if k else (i,)))
    return rungs


def _image_dim(channels: int, stride: Stride) -> int:
    """Default width at the image's resolution, above a level of so many channels."""
    num_rungs = len(_climb(stride))
    return channels if num_rungs < 2 else max(channels >> num_rungs, SMALLEST_DIM)


def _blocks(spatial_dims: int, channels: Sequence[int]) -> list[nn.Module]:
    """A residual block for each level but the second coarsest, which joins unchanged, as in Swin UNETR."""
    raw = len(channels) - 2
    return [nn.Identity() if i == raw else ResidualConv(spatial_dims, c, c) for i, c in enumerate(channels)]


def _towers(spatial_dims: int, channels: Sequence[int], rungs: Sequence[Rung]) -> list[nn.Module]:
    """From each tap to its rung: a transposed convolution, then one more and a residual block for each further step.

    The last tap, where the climb begins, is left unchanged.
    """
    *joining, _ = channels
    places = [k for k, rung in enumerate(rungs) for level in rung.levels if rung.stride != (1,) * spatial_dims]
    towers = []
    for c, k in zip(joining, places, strict=True):
        first, *further = reversed(rungs[k:])
        dim = rungs[k].dim
        ups = [Up(spatial_dims, dim, dim, step=rung.step) for rung in further]
        towers.append(nn.Sequential(nd.CONV_TRANSPOSE[spatial_dims](c, dim, first.step, first.step, bias=False), *ups))
    return [*towers, nn.Identity()]


def _divide(stride: Stride, by: Stride) -> Stride:
    return tuple(a // b for a, b in zip(stride, by, strict=True))


def _crop(image: Tensor, size: Sequence[int] | None) -> Tensor:
    """(B, C, *S) -> (B, C, *size), a view of the near corner."""
    return image if size is None else nd.to_image(nd.crop(nd.to_grid(image), size))


def _climb(stride: Stride) -> list[tuple[Stride, Stride]]:
    """(stride, step to it) of the rungs between a level and the image, fine to coarse, in steps of prime numbers.

    Axes with fewer factors are done earlier: from (4, 16, 16) by (2, 2, 2), (2, 2, 2), (1, 2, 2), (1, 2, 2).
    """
    rungs = []
    for step in zip_longest(*map(_primes, stride), fillvalue=1):
        stride = tuple(s // factor for s, factor in zip(stride, step, strict=True))
        rungs.insert(0, (stride, step))
    return rungs


def _primes(number: int) -> list[int]:
    """Prime factors, the largest first, so that the largest steps are made where maps are small: 14 -> [7, 2]."""
    factors, factor = [], 2
    while number > 1:
        if number % factor:
            factor += 1
        else:
            factors.insert(0, factor)
            number //= factor
    return factors
