"""CLIP's image encoder, the ResNets: three convolutions first, averages for strides. https://arxiv.org/abs/2103.00020

In 2D and 3D. As a classifier of as many classes as its embeddings are wide, it gives the embeddings of images. An
average at the far end of an odd size is that of what there is, where the published network leaves a row or column out.
"""

from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.backbones.resnet import resnet_stages
from densevit.blocks import nd
from densevit.blocks.attention import Attend, merge_heads, split_heads
from densevit.blocks.position import resize_positions
from densevit.registry import BACKBONES

VARIANTS = {
    "clip_resnet50": dict(dim=64, depths=(3, 4, 6, 3)),
    "clip_resnet101": dict(dim=64, depths=(3, 4, 23, 3)),
    "clip_resnet50x4": dict(dim=80, depths=(4, 6, 10, 6), image_size=288),
    "clip_resnet50x16": dict(dim=96, depths=(6, 8, 18, 8), image_size=384),
    "clip_resnet50x64": dict(dim=128, depths=(3, 15, 36, 10), image_size=448),
}
HEAD_DIM = 64


@BACKBONES.register(VARIANTS)
def clip_resnet(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depths: Sequence[int],
    image_size: int | Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `dim` is the width of the first stage's inner convolutions. `image_size` is that for which the classifier's table of
    positions is made (224 in 2D, 96 in 3D); others get it resized.
    """
    stem = ConvStem(spatial_dims, in_channels, dim)
    shape = dict(dim=dim, depths=depths, bottleneck=True, drop_path=drop_path)
    stages, widths = resnet_stages(spatial_dims, in_channels, **shape, stem=stem, averaged=True)
    strides = [4 * 2**i for i in range(len(depths))]
    return Backbone(
        stages,
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=widths,
        out_strides=strides,
        class_head=partial(AttentionPoolHead, widths[-1], grid=nd.table_grid(spatial_dims, image_size, strides[-1])),
    )


class ConvStem(nn.Module):
    """Three convolutions with batch norm, the first of which strides, then an average: (B, *S, C_in) ->
    (B, *ceil(S / 4), C)."""

    def __init__(self, spatial_dims: int, in_channels: int, dim: int):
        super().__init__()
        conv, self.average = nd.CONV[spatial_dims], nd.ntuple(2, spatial_dims)
        widths = (dim // 2, dim // 2, dim)
        self.proj = conv(in_channels, widths[0], 3, stride=2, padding=1, bias=False)
        self.convs = nn.ModuleList(conv(widths[0], width, 3, padding=1, bias=False) for width in widths[1:])
        self.norms = nn.ModuleList(nd.BATCH_NORM[spatial_dims](width) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        image = nd.to_image(x)
        for conv, norm in zip([self.proj, *self.convs], self.norms, strict=True):
            image = F.relu(norm(conv(image)), inplace=True)
        return nd.to_grid(nd.average(image, self.average))


class AttentionPoolHead(ClassHead):
    """The mean of the cells attends to itself and to all of them, with positions; then a linear layer.

    The table of positions is made for `grid` and resized to others with antialiasing, as timm does.
    """

    def __init__(self, dim: int, num_classes: int, *, grid: Sequence[int]):
        super().__init__()
        self.grid, self.num_heads = tuple(grid), max(dim // HEAD_DIM, 1)
        rows = 1 + torch.Size(grid).numel()
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, rows, dim), std=dim**-0.5))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attend = Attend()
        self.fc = nn.Linear(dim, num_classes)
        for linear in (self.q, self.kv, self.fc):
            nn.init.trunc_normal_(linear.weight, std=dim**-0.5)
            nn.init.zeros_(linear.bias)

    def forward(self, features: Features) -> Tensor:
        size, cells = features.levels[-1].size, features.levels[-1].grid.flatten(1, -2)
        mode = nd.CUBIC_MODE[len(size)]
        table = resize_positions(self.pos_embed, grid=self.grid, size=size, mode=mode, resizing="antialias")
        tokens = torch.cat([features.mean[:, None], cells], dim=1) + table  # (B, 1 + N, C)
        q, k, v = (split_heads(x, self.num_heads) for x in (self.q(tokens[:, :1]), *self.kv(tokens).chunk(2, dim=-1)))
        return self.fc(merge_heads(self.attend(q, k, v))[:, 0])
