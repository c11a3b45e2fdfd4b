"""Transposed convolutions from the coarsest map to the pixels, as in Primus. https://arxiv.org/abs/2503.01835

The paper's widths depend on the number of classes, so that all of it is the classifier.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.transformer import init_conv_weights
from densevit.decoders.base import Decoder, Stride, check_sizes, init_classifier
from densevit.decoders.unetr import Rung, plan_pyramid
from densevit.registry import DECODERS

NARROWEST = 8  # widths are multiples of it


class CoarseMap(NamedTuple):
    """The coarsest map (B, C, *S), and the finer ones before it; classified, logits of whole cells of it.

    A cell reaches beyond an image whose size is no multiple of the stride, so `logits` crops them to a size.
    """

    values: Tensor
    finer: tuple[Tensor, ...] = ()

    def classify(self, head: nn.Module) -> "CoarseMap":
        return CoarseMap(head(self.values, self.finer))

    def float(self) -> "CoarseMap":
        return CoarseMap(self.values.float(), tuple(x.float() for x in self.finer))

    def logits(self, size: Sequence[int] | None = None) -> Tensor:
        """(B, num_classes, *S) or its near corner (B, num_classes, *size)."""
        return self.values if size is None else _crop(self.values, size)


class Climb(nn.Module):
    """Transposed convolutions, between them LayerNorm and GELU: (B, C, *S) -> (B, num_classes, *S * stride).

    Where a rung has a finer map, a 1 x 1 convolution of it is added.
    """

    def __init__(self, spatial_dims: int, rungs: Sequence[Rung], widths: Sequence[int], *, channels: Sequence[int]):
        super().__init__()
        self.joining = [rung.levels[0] if rung.levels else None for rung in rungs]
        ups = zip(rungs, pairwise(widths), strict=True)
        self.ups = nn.ModuleList(nd.CONV_TRANSPOSE[spatial_dims](a, b, r.step, r.step) for r, (a, b) in ups)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-6) for width in widths[1:-1])
        joins = zip(self.joining, widths[1:], strict=True)
        self.joins = nn.ModuleList(
            nn.Identity() if i is None else nd.CONV[spatial_dims](channels[i], width, 1, bias=False)
            for i, width in joins
        )
        self.apply(init_conv_weights)
        init_classifier(self.ups[-1])

    def forward(self, x: Tensor, finer: Sequence[Tensor] = ()) -> Tensor:
        for step, (up, join, i) in enumerate(zip(self.ups, self.joins, self.joining, strict=True)):
            x = up(x)
            if i is not None:
                x = _crop(x, finer[i].shape[2:]) + join(finer[i])
            if step < len(self.norms):
                x = nd.to_image(F.gelu(self.norms[step](nd.to_grid(x))))
        return x


@DECODERS.register({"patch_decode": {}})
class PatchDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> logits at the image's resolution, by steps of 2 from the last map.

    Of maps of one stride, as those of a plain ViT, the last alone is read, as published; the levels of a pyramid join
    on the way. `dims` are the widths between the last map and the classes, coarse to fine, those of the paper by
    default: from C to twice the number of classes in equal ratios, in multiples of 8.
    """

    keeps_places = True

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        dims: Sequence[int] | None = None,
    ):
        super().__init__(spatial_dims=spatial_dims, level_channels=in_channels[-1:], level_strides=in_strides[-1:])
        strides = [nd.ntuple(stride, spatial_dims) for stride in in_strides]
        self.first = len(strides) - 1 if len(set(strides)) == 1 else 0
        self.channels = tuple(in_channels[self.first :])
        levels = [((1,) * spatial_dims, 1), *zip(strides[self.first :], self.channels, strict=True)]
        # The first of these levels is the image, which does not join.
        rungs = [rung._replace(levels=tuple(i - 1 for i in rung.levels if i)) for rung in plan_pyramid(levels)]
        self.rungs = rungs[::-1]
        if dims is not None:
            check_sizes(**{f"dims[{i}]": dim for i, dim in enumerate(dims)})
            if len(dims) != len(rungs) - 1:
                raise ValueError(f"dims must be {len(rungs) - 1} widths, one between two steps, got {tuple(dims)}")
        self.dims = None if dims is None else tuple(dims)

    def forward_levels(self, features: Sequence[Tensor]) -> list[CoarseMap]:
        """The last map alone, with those that join it."""
        return [CoarseMap(features[-1], tuple(features[self.first : -1]))]

    def create_head(self, num_classes: int, *, level: int = 0) -> nn.Module:
        """All layers: (B, C, *S) -> (B, num_classes, *S * stride)."""
        steps = len(self.rungs)
        ratio = (self.out_channels / (2 * num_classes)) ** (1 / steps)
        dims = [_rounded(self.out_channels / ratio**i) for i in range(1, steps)] if self.dims is None else self.dims
        widths = [self.out_channels, *dims, num_classes]
        return Climb(self.spatial_dims, self.rungs, widths, channels=self.channels)


def _rounded(width: float) -> int:
    return max(NARROWEST, round((width + 1e-6) / NARROWEST) * NARROWEST)


def _crop(image: Tensor, size: Sequence[int]) -> Tensor:
    """(B, C, *S) -> (B, C, *size), a view of the near corner."""
    return nd.to_image(nd.crop(nd.to_grid(image), size))
