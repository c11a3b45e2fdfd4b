"""XCiT: attention between channels, whose cost is linear in the size of the image. https://arxiv.org/abs/2106.09681

In 2D and 3D: the convolutions of the stem and of each block have the rank of the image, positions a code for each axis.
The maps are those that its authors take for segmentation, without a final norm. The classifier's head has blocks of
class attention, as that of CaiT.
"""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone
from densevit.backbones.cait import CLASS_DEPTH, ClassAttentionHead
from densevit.backbones.plain import plain_backbone
from densevit.blocks import nd
from densevit.blocks.attention import Attend, split_heads
from densevit.blocks.class_attention import ClassAttention
from densevit.blocks.position import FourierPositions
from densevit.blocks.transformer import DropPath, Mlp, init_linear_weights, make_scale
from densevit.registry import BACKBONES

_SHAPES = {
    "nano_12": dict(dim=128, depth=12, num_heads=4, norm_cells=False),
    "tiny_12": dict(dim=192, depth=12, num_heads=4),
    "tiny_24": dict(dim=192, depth=24, num_heads=4, layer_scale=1e-5),
    "small_12": dict(dim=384, depth=12, num_heads=8),
    "small_24": dict(dim=384, depth=24, num_heads=8, layer_scale=1e-5),
    "medium_24": dict(dim=512, depth=24, num_heads=8, layer_scale=1e-5),
    "large_24": dict(dim=768, depth=24, num_heads=16, layer_scale=1e-5),
}
VARIANTS = {f"xcit_{name}_p{p}": dict(**shape, patch_size=p) for name, shape in _SHAPES.items() for p in (16, 8)}
TINY = 1e-12  # the least length of a channel's values, by which they are divided


@BACKBONES.register(VARIANTS)
def xcit(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    dim: int,
    depth: int,
    num_heads: int,
    patch_size: int = 16,
    layer_scale: float = 1.0,
    norm_cells: bool = True,
    taps: Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `taps` are the blocks, counted from 0, whose outputs leave as levels; by default the ends of the first third, of the
    half, of two thirds and of all. `layer_scale` is where the factors of each branch begin. `norm_cells` is of the
    classifier alone: whether its second norms are for all tokens or for the class token. `drop_path` is the same for
    all blocks.
    """
    halvings = patch_size.bit_length() - 1
    if patch_size != 2**halvings or not halvings:
        raise ValueError(f"patch_size must be 2, 4, 8, 16 or another power of two, got {patch_size}")
    dims = [dim // 2**i for i in reversed(range(halvings))]
    stem = ConvStem(spatial_dims, in_channels, dims, position=FourierPositions(spatial_dims, dim))

    def make_block() -> nn.Module:
        return XCiTBlock(spatial_dims, dim, num_heads=num_heads, layer_scale=layer_scale, drop_path=drop_path)

    backbone = plain_backbone(
        stem,
        [make_block() for _ in range(depth)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        dim=dim,
        stride=patch_size,
        taps=[depth * part // 12 - 1 for part in (4, 6, 8, 12)] if taps is None else taps,
        class_head=partial(_class_head, dim, num_heads=num_heads, layer_scale=layer_scale, norm_cells=norm_cells),
    )
    return backbone.apply(init_linear_weights)


class ConvStem(nn.Module):
    """Convolutions of stride 2 with batch norm, and GELU between: (B, *S, C_in) -> (B, *ceil(S / 2 ** n), C_n)."""

    def __init__(self, spatial_dims: int, in_channels: int, dims: Sequence[int], *, position: nn.Module):
        super().__init__()
        conv = partial(nd.CONV[spatial_dims], kernel_size=3, stride=2, padding=1, bias=False)
        self.proj = conv(in_channels, dims[0])
        self.convs = nn.ModuleList(conv(before, after) for before, after in pairwise(dims))
        self.norms = nn.ModuleList(nd.BATCH_NORM[spatial_dims](dim) for dim in dims)
        self.position = position

    def forward(self, x: Tensor) -> Tensor:
        image = self.norms[0](self.proj(nd.to_image(x)))
        for conv, norm in zip(self.convs, self.norms[1:], strict=True):
            image = F.gelu(image)  # what it was is given back
            image = norm(conv(image))
        return self.position(nd.to_grid(image))


class XCiTBlock(nn.Module):
    """Attention between channels, then between neighbouring cells, then an Mlp: (B, *S, C) -> (B, *S, C)."""

    def __init__(self, spatial_dims: int, dim: int, *, num_heads: int, layer_scale: float, drop_path: float = 0.0):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.ls1, self.ls2, self.ls3 = (make_scale(dim, layer_scale) for _ in range(3))
        self.attn = CrossCovarianceAttention(dim, num_heads=num_heads)
        self.local_mp = LocalInteraction(spatial_dims, dim)
        self.mlp = Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x))))
        x = x + self.drop_path(self.ls3(self.local_mp(self.norm3(x))))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class CrossCovarianceAttention(nn.Module):
    """Each channel of a head is made of those of its head, by their likeness over the grid: (B, *S, C) -> (B, *S, C).

    The maps of K x K channels go into the output's linear layer, which then reads the values as they are: so nothing
    of the grid's size is moved between heads and channels.
    """

    def __init__(self, dim: int, *, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attend = ChannelAttend(num_heads)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(1, -2)).chunk(3, dim=-1)  # (B, N, C) each
        maps = self.attend(split_heads(q, self.num_heads).mT, split_heads(k, self.num_heads).mT)  # (B, H, K, K)
        proj = self.proj.weight.mT.unflatten(0, (self.num_heads, -1))  # (H, K, C)
        out = torch.baddbmm(self.proj.bias, v, (maps.mT @ proj).flatten(1, 2))  # (B, N, C)
        return out.reshape(x.shape)


class ChannelAttend(Attend):
    """Weights of channels among those of their head: q and k (B, H, K, N) -> (B, H, K, K), a row sums to 1.

    They are the softmax of the cosines of channels over the N cells, times a learned temperature for each head.
    """

    def __init__(self, num_heads: int):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        return self.weights(q, k)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """(B, H, K, K), the same."""
        products = (q / _lengths(q)) @ k.mT  # of q's directions, which half precision can hold whatever N is
        return (products * (self.temperature / _lengths(k).mT)).softmax(dim=-1)


def _lengths(x: Tensor) -> Tensor:
    """(B, H, K, N) -> (B, H, K, 1), in single precision at least."""
    squares = x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(dim=-1, keepdim=True)
    return squares.clamp_min(TINY**2).sqrt()


class LocalInteraction(nn.Module):
    """Two 3 x 3 (x 3) depthwise convolutions with GELU and batch norm between: (B, *S, C) -> (B, *S, C)."""

    def __init__(self, spatial_dims: int, dim: int):
        super().__init__()
        conv = partial(nd.CONV[spatial_dims], dim, dim, 3, padding=1, groups=dim)
        self.conv1 = conv()
        self.bn = nd.BATCH_NORM[spatial_dims](dim)
        self.conv2 = conv()

    def forward(self, x: Tensor) -> Tensor:
        return nd.to_grid(self.conv2(self.bn(F.gelu(self.conv1(nd.to_image(x))))))


class XCiTClassBlock(nn.Module):
    """Class attention that changes the cells too: (B, 1 + N, C) -> (B, 1 + N, C), the class token first.

    As published, cells get their own norm added in place of attention, and are doubled in place of an Mlp.
    """

    def __init__(self, dim: int, *, num_heads: int, layer_scale: float, norm_cells: bool):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(2))
        self.ls1, self.ls2 = (make_scale(dim, layer_scale) for _ in range(2))
        self.attn = ClassAttention(dim, num_heads=num_heads)
        self.mlp = Mlp(dim)
        self.norm_cells = norm_cells

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm1(tokens)
        tokens = tokens + self.ls1(torch.cat([self.attn(normed), normed[:, 1:]], dim=1))
        token, cells = self.norm2(tokens[:, :1]), tokens[:, 1:]
        cells = self.norm2(cells) if self.norm_cells else cells
        return torch.cat([token + self.ls2(self.mlp(token)), 2 * cells], dim=1)


def _class_head(dim: int, num_classes: int, *, num_heads: int, layer_scale: float, norm_cells: bool) -> nn.Module:
    options = dict(num_heads=num_heads, layer_scale=layer_scale, norm_cells=norm_cells)
    return ClassAttentionHead(dim, num_classes, blocks=[XCiTClassBlock(dim, **options) for _ in range(CLASS_DEPTH)])
