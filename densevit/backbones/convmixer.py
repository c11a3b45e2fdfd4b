"""ConvMixer: large depthwise convolutions mix cells, a linear layer channels, at one size. https://arxiv.org/abs/2201.09792

In 2D and 3D, at any size. Batch norm follows each activation, so there is no norm at the end. The patches of 7 pixels
make strides that are no powers of two: decoders resize maps to the image as ever, and a neck brings them to 4, 8, ...
"""

from collections.abc import Callable, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.transformer import DropPath, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES, check_known

VARIANTS = {
    "convmixer_1536_20": dict(dim=1536, depth=20, kernel_size=9, patch_size=7),
    "convmixer_768_32": dict(dim=768, depth=32, kernel_size=7, patch_size=7, activation="relu"),  # as its weights are
    "convmixer_1024_20_ks9_p14": dict(dim=1024, depth=20, kernel_size=9, patch_size=14),
}
Activation = Callable[[Tensor], Tensor]
ACTIVATIONS: dict[str, Activation] = dict(gelu=F.gelu, relu=F.relu)


@BACKBONES.register(VARIANTS)
def convmixer(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    kernel_size: int = 9,
    patch_size: int | Sequence[int] = 7,
    activation: str = "gelu",
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `kernel_size`, an odd number of cells, is of the convolutions between cells. `activation` is "gelu" or "relu".
    `taps` are the blocks, counted from 0, whose outputs leave as levels; the end of each quarter by default.
    """
    check_known(activation, ACTIVATIONS, what="no activation named")
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be an odd number of cells, got {kernel_size}")
    act = ACTIVATIONS[activation]
    rates = drop_path_rates(drop_path, [depth])[0]
    backbone = plain_backbone(
        ConvMixerStem(spatial_dims, in_channels, dim, patch=nd.ntuple(patch_size, spatial_dims), act=act),
        [ConvMixerBlock(spatial_dims, dim, kernel_size=kernel_size, act=act, drop_path=rate) for rate in rates],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=patch_size,
        taps=taps,
    )
    return backbone.apply(init_linear_weights)


class ConvMixerStem(nn.Module):
    """Patches, activation, batch norm: (B, *S, C_in) -> (B, *ceil(S / patch), C)."""

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, patch: Sequence[int], act: Activation):
        super().__init__()
        self.patch, self.act = tuple(patch), act
        self.proj = nd.CONV[spatial_dims](in_channels, dim, self.patch, self.patch)
        self.norm = nd.BATCH_NORM[spatial_dims](dim)

    def forward(self, x: Tensor) -> Tensor:
        image = nd.to_image(nd.pad_to_multiple(x, self.patch))
        return nd.to_grid(self.norm(self.act(self.proj(image))))


class ConvMixerBlock(nn.Module):
    """x + norm(act(depthwise(x))), then norm(act(linear(x))): (B, *S, C) -> (B, *S, C)."""

    def __init__(self, spatial_dims: int, dim: int, *, kernel_size: int, act: Activation, drop_path: float = 0.0):
        super().__init__()
        self.act = act
        self.dwconv = nd.CONV[spatial_dims](dim, dim, kernel_size, padding=kernel_size // 2, groups=dim)
        self.norm1, self.norm2 = (nd.BATCH_NORM[spatial_dims](dim) for _ in range(2))
        self.fc = nn.Linear(dim, dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(nd.to_grid(self.norm1(self.act(self.dwconv(nd.to_image(x))))))
        return nd.to_grid(self.norm2(nd.to_image(self.act(self.fc(x)))))
