"""VOLO: each neighbourhood's attention is read off its centre (outlook attention). https://arxiv.org/abs/2106.13112

A pyramid of two strides, in 2D and 3D: outlookers on cells of 8 pixels, then three stages of a plain ViT on cells of
16. Its maps leave without a norm; blocks of class attention belong to the head of the classifier, which reads the
classes of cells as well. In 3D a window has 27 cells, whose weights are 729 a head, or 9 of a slice with
`window=(1, 3, 3)`: then weights of pictures inflate exactly.
"""

from collections.abc import Sequence
from functools import partial
from math import prod

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features, Stage
from densevit.backbones.cait import CLASS_DEPTH, ClassAttentionHead
from densevit.blocks import nd
from densevit.blocks.attention import Attend, Places, SelfAttention
from densevit.blocks.class_attention import ClassBlock
from densevit.blocks.position import LearnedPositions
from densevit.blocks.transformer import Block, Mlp, PatchEmbed, drop_path_rates, init_linear_weights
from densevit.registry import BACKBONES

VARIANTS = {
    "volo_d1": dict(depths=(4, 4, 8, 2), dims=(192, 384), num_heads=(6, 12)),
    "volo_d2": dict(depths=(6, 4, 10, 4), dims=(256, 512), num_heads=(8, 16)),
    "volo_d3": dict(depths=(8, 8, 16, 4), dims=(256, 512), num_heads=(8, 16)),
    "volo_d4": dict(depths=(8, 8, 16, 4), dims=(384, 768), num_heads=(12, 16)),
    "volo_d5": dict(depths=(12, 12, 20, 4), dims=(384, 768), num_heads=(12, 16), ffn_ratio=4.0, stem_dim=128),
}
STRIDES = (8, 16, 16, 16)
EPS = 1e-5
STEPS = {3: 2, 1: 1}  # cells of a window along an axis -> from one window to the next; those of 3 share their borders


@BACKBONES.register(VARIANTS)
def volo(
    *,
    spatial_dims: int = 2,
    in_channels: int = 3,
    depths: Sequence[int],
    dims: Sequence[int],
    num_heads: Sequence[int],
    ffn_ratio: float = 3.0,
    stem_dim: int = 64,
    window: int | Sequence[int] = 3,
    image_size: int | Sequence[int] | None = None,
    drop_path: float = 0.0,
) -> Backbone:
    """Build one member of the family; see VARIANTS.

    `dims` and `num_heads` are of the outlookers and of the other blocks. `window` is the cells of an outlooker's window
    along each axis, 3 or 1. `image_size` is that for which the table of
    positions is made (224 in 2D, 96 in 3D); others get it resized. `drop_path` rises over all blocks, and as published
    outlookers drop nothing.
    """
    grid, mode = nd.table_grid(spatial_dims, image_size, STRIDES[-1]), nd.CUBIC_MODE[spatial_dims]

    def make_block(stage: int, rate: float) -> Block:
        dim, heads = dims[stage > 0], num_heads[stage > 0]
        if stage:
            attention: nn.Module = SelfAttention(dim, num_heads=heads, qkv_bias=False)
        else:
            attention, rate = OutlookAttention(dim, num_heads=heads, window=nd.ntuple(window, spatial_dims)), 0.0
        return Block(dim, attention, Mlp(dim, ratio=ffn_ratio), drop_path=rate, eps=EPS)

    halving = PatchEmbed(
        *(spatial_dims, dims[0], dims[1]),
        **dict(kernel_size=2, stride=2, norm=False, position=LearnedPositions(dims[1], grid=grid, mode=mode)),
    )
    entries = [Stem(spatial_dims, in_channels, dims[0], hidden=stem_dim), halving, nn.Identity(), nn.Identity()]
    rates = drop_path_rates(drop_path, depths)
    backbone = Backbone(
        [Stage(entry, [make_block(i, rate) for rate in rates[i]]) for i, entry in enumerate(entries)],
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        out_channels=(dims[0], *[dims[1]] * 3),
        out_strides=STRIDES,
        class_head=partial(_class_head, dims[1], num_heads=num_heads[1], ffn_ratio=ffn_ratio),
    )
    return backbone.apply(init_linear_weights)


class Stem(nn.Module):
    """Convolutions with batch norm and ReLU, then patches: (B, *S, C_in) -> (B, *ceil(S / 8), C).

    Three convolutions, the first of stride 2; patches have 4 cells of theirs an axis.
    """

    def __init__(self, spatial_dims: int, in_channels: int, dim: int, *, hidden: int):
        super().__init__()
        conv = partial(nd.CONV[spatial_dims], bias=False)
        self.proj = conv(in_channels, hidden, 7, stride=2, padding=3)
        self.convs = nn.ModuleList(conv(hidden, hidden, 3, padding=1) for _ in range(2))
        self.norms = nn.ModuleList(nd.BATCH_NORM[spatial_dims](hidden) for _ in range(3))
        self.patches = PatchEmbed(spatial_dims, hidden, dim, kernel_size=4, stride=4, norm=False)

    def forward(self, x: Tensor) -> Tensor:
        image = nd.to_image(x)
        for conv, norm in zip([self.proj, *self.convs], self.norms, strict=True):
            image = F.relu(norm(conv(image)), inplace=True)
        return self.patches(nd.to_grid(image))


class OutlookAttend(Attend):
    """Attention whose logits are given: (B * W, H, N, M) with values (B * W, H, M, K) -> (B * W, H, N, K).

    Keys are places of a window and have no vectors: `k` only tells how many they are.
    """

    def forward(self, q: Tensor, k: Tensor, v: Tensor, *, scale: float) -> Tensor:
        return self.weights(q, k, scale=scale) @ v

    def weights(self, q: Tensor, k: Tensor, *, scale: float) -> Tensor:
        """(B * W, H, N, M): a row sums to 1, with what it takes of the zeros outside the grid."""
        return (q * scale).softmax(dim=-1)


class OutlookAttention(nn.Module):
    """Attention within windows of 3 x 3 (x 3) cells, at every second cell: (B, *S, C) -> (B, *S, C).

    A linear layer reads all weights of a window off the mean of 2 x 2 (x 2) cells: how much each of its cells takes of
    each. What a cell gets is the sum over the windows that it lies in. Along an axis where `window` is 1, each cell has
    a window of its own.
    """

    def __init__(self, dim: int, *, num_heads: int, window: Sequence[int]):
        super().__init__()
        if not set(window) <= set(STEPS):
            raise ValueError(f"window must be 3 or 1 along each axis, got {tuple(window)}")
        self.num_heads, self.window, self.cells = num_heads, tuple(window), prod(window)
        self.scale = (dim // num_heads) ** -0.5
        self.steps = [STEPS[cells] for cells in window]
        self.v = nn.Linear(dim, dim, bias=False)
        self.attn = nn.Linear(dim, self.cells**2 * num_heads)
        self.attend = OutlookAttend()
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        pooled = nd.to_grid(nd.average(nd.to_image(x), self.steps))  # (B, *W, C)
        logits = self.attn(pooled).reshape(-1, self.num_heads, self.cells, self.cells)
        v = cut_windows(self.v(x), self.window, num_heads=self.num_heads)
        out = add_windows(self.attend(logits, v, v, scale=self.scale), self.window, count=pooled.shape[1:-1])
        return self.proj(nd.crop(out, x.shape[1:-1]))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """The cells of each window among themselves; a cell asks in all windows that it lies in."""
        cells = cut_windows(nd.count_places(size) + 1, self.window, num_heads=1).flatten(1) - 1  # (W, N)
        return [Places(cells, cells, tuple(size), tuple(size))]


def cut_windows(grid: Tensor, window: Sequence[int], *, num_heads: int) -> Tensor:
    """(B, *S, C) -> (B * W, H, N, C / H): the N cells of each window, zeros outside the grid.

    Channels stay together as they are copied, once; weights come out of their linear layer in this order.
    """
    n, around = len(window), []
    for size, cells in zip(reversed(grid.shape[1:-1]), reversed(window), strict=True):
        around += [1, size % 2] if cells > 1 else [0, 0]
    windows = F.pad(grid, [0, 0, *around]).unflatten(-1, (num_heads, -1))
    for axis, cells in enumerate(window, start=1):
        windows = windows.unfold(axis, cells, STEPS[cells])  # (B, *W, H, K, *window) in the end
    order = [*range(n + 2), *range(n + 3, 2 * n + 3), n + 2]
    return windows.permute(order).reshape(-1, num_heads, prod(window), grid.shape[-1] // num_heads)


def add_windows(windows: Tensor, window: Sequence[int], *, count: Sequence[int]) -> Tensor:
    """(B * W, H, N, K), `count` windows along each axis -> (B, *S, H * K): sums over the windows of each cell.

    It writes into `windows`: the first cells of a window are added to the last ones of the window before, which are the
    same; two cells an axis are left of each window, and S is a multiple of two.
    """
    n = len(window)
    x = windows.unflatten(2, window).unflatten(0, (-1, *count))  # (B, *W, H, *window, K)
    for axis, (cells, number) in enumerate(zip(window, count, strict=True), start=1):
        if cells > 1:
            inner = n + 1 + axis
            x.narrow(axis, 0, number - 1).select(inner, -1).add_(x.narrow(axis, 1, number - 1).select(inner, 0))
            x = x.narrow(inner, 1, cells - 1)
    order = [0, *(i for axis in range(1, n + 1) for i in (axis, n + 1 + axis)), n + 1, 2 * n + 2]
    size = [number * STEPS[cells] for number, cells in zip(count, window, strict=True)]
    return x.permute(order).reshape(-1, *size, windows.shape[1] * windows.shape[-1])


class CellClassHead(ClassAttentionHead):
    """The class token's logits and half of the largest of the cells', class by class (token labelling).

    https://arxiv.org/abs/2104.10858. A loss that has labels of cells takes the two parts of `pair`.
    """

    def __init__(self, dim: int, num_classes: int, *, blocks: Sequence[nn.Module], eps: float = 1e-6):
        super().__init__(dim, num_classes, blocks=blocks, eps=eps)
        self.fc_cells = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        of_class, of_cells = self.pair(features)
        return of_class + 0.5 * of_cells.flatten(1, -2).amax(1)

    def pair(self, features: Features) -> tuple[Tensor, Tensor]:
        """Logits (B, num_classes) of the class token, and (B, *S, num_classes) of the cells."""
        tokens = self.norm_head(self.attended(features))
        return self.fc(tokens[:, 0]), self.fc_cells(tokens[:, 1:]).unflatten(1, features.levels[-1].size)


def _class_head(dim: int, num_classes: int, *, num_heads: int, ffn_ratio: float) -> nn.Module:
    options = dict(num_heads=num_heads, ratio=ffn_ratio, qkv_bias=False, eps=EPS)
    blocks = [ClassBlock(dim, **options) for _ in range(CLASS_DEPTH)]
    return CellClassHead(dim, num_classes, blocks=blocks, eps=EPS)
