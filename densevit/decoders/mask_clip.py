"""MaskCLIP: each cell of the last map as a vector of CLIP's space, compared with those of classes by their cosines.

https://arxiv.org/abs/2112.01071
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.decoders.base import Decoder, DenseMap, Stride, check_sizes
from densevit.registry import DECODERS


@DECODERS.register({"mask_clip": {}})
class MaskClipDecoder(Decoder):
    """[(B, C_i, *S_i)] fine to coarse -> (B, width, *S) of the last level, each cell of length 1.

    The weights are those of the head that made one vector of an image: its last layer `proj`, with `bias` where it has
    one, after with `value` the layer of values of its attention pooling (the ResNets).
    """

    keeps_places = True

    def __init__(
        self,
        *,
        spatial_dims: int,
        in_channels: Sequence[int],
        in_strides: Sequence[Stride],
        width: int = 512,
        value: bool = False,
        bias: bool = False,
    ):
        check_sizes(width=width)
        super().__init__(spatial_dims=spatial_dims, level_channels=[width], level_strides=[in_strides[-1]])
        dim = in_channels[-1]
        self.value = nn.Linear(dim, dim) if value else nn.Identity()
        self.proj = nn.Linear(dim, width, bias=bias)

    def forward_levels(self, features: Sequence[Tensor]) -> list[DenseMap]:
        """The one map."""
        cells = self.proj(self.value(nd.to_grid(features[-1])))
        return [DenseMap(nd.to_image(F.normalize(cells, dim=-1)))]

    def create_head(self, num_classes: int, *, level: int = 0) -> nn.Module:
        """A 1 x 1 convolution without bias, whose rows are classes; it begins with them of length 1 and 100 times."""
        head = nd.CONV[self.spatial_dims](self.out_channels, num_classes, 1, bias=False)
        nn.init.normal_(head.weight)
        head.weight.data.copy_(100 * F.normalize(head.weight.data, dim=1))
        return head
