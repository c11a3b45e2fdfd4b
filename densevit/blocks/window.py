"""Attention inside windows of a grid, and the merging of patches between stages (Swin).

https://arxiv.org/abs/2103.14030. Dimension key: B batch, N tokens of a window, C channels, H heads.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.attention import Attend, Places
from densevit.blocks.traced import ANY, refuse_any_size, within_bounds

# What happens along an axis that one window covers, see WindowAttention.
SMALL_MAPS = ("shift", "no_shift", "shrink")

# Orders of the eight neighbours (depth, row, column) in MONAI, beside the usual one.
OTHER_MERGE_ORDERS = {
    "legacy": ("000", "100", "010", "001", "101", "010", "001", "111"),  # two neighbours come twice, two never
    "v2": ("000", "001", "010", "011", "100", "101", "110", "111"),
}
MERGE_ORDERS = ("fixed", *OTHER_MERGE_ORDERS)


def relative_position_index(window: Sequence[int], *, device: torch.device | None = None) -> Tensor:
    """Row of the bias table for each pair of positions in a window: (N, N); the last axis counts fastest."""
    index, rows = 0, 1
    for axis in reversed(range(len(window))):
        position = torch.arange(window[axis], device=device)
        offset = position[:, None] - position + window[axis] - 1  # (w, w), 0 to 2 w - 2
        index = index + rows * _pairs_along(offset, axis, window)
        rows *= 2 * window[axis] - 1
    return index.reshape(prod(window), prod(window))


def wrap_mask(window: Sequence[int], shift: Sequence[int], wrapped: Sequence[bool], *, like: Tensor) -> Tensor:
    """-100 between the two parts of a window that wraps around the ends of some axes, 0 within a part: (N, N)."""
    apart = torch.zeros([1] * 2 * len(window), dtype=torch.bool, device=like.device)
    for axis in (axis for axis, wraps in enumerate(wrapped) if wraps):
        begins_anew = torch.arange(window[axis], device=like.device) >= window[axis] - shift[axis]
        apart = apart | _pairs_along(begins_anew[:, None] ^ begins_anew, axis, window)
    apart = apart.expand(*window, *window).reshape(prod(window), prod(window))
    return torch.zeros_like(apart, dtype=like.dtype).masked_fill(apart, -100.0)


def _pairs_along(pairs: Tensor, axis: int, window: Sequence[int]) -> Tensor:
    """(w, w) -> (1, w, 1, 1, w, 1): pairs of positions along one axis of a window, ready to broadcast over the others.
    The shape is that of a 3D window and its axis 1."""
    n = len(window)
    return pairs.view([window[axis] if i % n == axis else 1 for i in range(2 * n)])


def map_shifted(
    grid: Tensor,
    attend: Callable[[Tensor, tuple[bool, ...]], Tensor],
    *,
    window: Sequence[int],
    shift: Sequence[int],
    wrapped: tuple[bool, ...] = (),
) -> Tensor:
    """Apply `attend(part, wrapped)` to the parts of a grid whose windows need the same mask: (B, *S, C) -> (B, *S, C').

    Windows begin `shift` tokens late along each axis. Those that fit into the axis need no mask; what is left over at
    both of its ends makes one more window, which `wraps` around the axis. In 2D this gives four parts: neither axis
    wrapped, columns, rows, both. The recursion takes one axis after the other; `wrapped` are those that it has done.
    """
    axis = len(wrapped)
    if axis == len(window):
        return attend(grid, wrapped)

    def recurse(part: Tensor, *, wraps: bool) -> Tensor:
        return map_shifted(part, attend, window=window, shift=shift, wrapped=(*wrapped, wraps))

    w, s, dim = window[axis], shift[axis], axis + 1
    if s == 0:
        return recurse(grid, wraps=False)
    start, middle, end = grid.split([s, grid.shape[dim] - w, w - s], dim)
    end, start = recurse(torch.cat([end, start], dim), wraps=True).split([w - s, s], dim)
    inside = [recurse(middle, wraps=False)] if middle.shape[dim] else []
    return torch.cat([start, *inside, end], dim)


class WindowAttention(nn.Module):
    """Attention inside windows, with a learned bias for relative positions: (B, *S, C) -> (B, *S, C).

    Zeros fill up the last windows and take part. The windows of a `shifted` layer begin half a window late; one that
    wraps around the ends of an axis keeps its two parts from each other.

    `small_maps` is what happens along an axis that one window covers: "shift" as along any other (Swin for
    segmentation); "no_shift" (Swin for classification); "shrink": no shift, and a window as short as the axis, whose
    tokens take the bias of the first ones of a full window (Video Swin, Swin UNETR).
    """

    def __init__(
        self,
        spatial_dims: int,
        dim: int,
        *,
        num_heads: int,
        window_size: int | Sequence[int],
        shifted: bool = False,
        small_maps: str = "shift",
    ):
        super().__init__()
        if small_maps not in SMALL_MAPS:
            raise ValueError(f"small_maps must be one of {', '.join(SMALL_MAPS)}, got {small_maps!r}")
        self.num_heads = num_heads
        self.window = nd.ntuple(window_size, spatial_dims)
        if min(self.window) < 1:
            raise ValueError(f"window_size must be at least 1 along every axis, got {window_size}")
        self.shift = tuple(w // 2 if shifted else 0 for w in self.window)
        self.small_maps = small_maps
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attend = Attend()
        self.relative_position_bias_table = nn.Parameter(torch.empty(prod(2 * w - 1 for w in self.window), num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[1:-1]
        refuse_any_size(size, who="attention in shifted windows")
        window, shift = self._fit(size)
        x = within_bounds(x, *self._bounds(size), why="one window covers an axis of one of them and not of the other")
        bias = self._bias(prod(window))

        def attend(qkv: Tensor, wrapped: tuple[bool, ...]) -> Tensor:
            mask = bias + wrap_mask(window, shift, wrapped, like=bias) if any(wrapped) else bias
            return self._attend(qkv, window, mask=mask)

        qkv = self._pad(self.qkv(x), window)  # (B, *S', 3C)
        out = map_shifted(qkv, attend, window=window, shift=shift)  # (B, *S', C)
        return self.proj(nd.crop(out, size).contiguous())  # contiguous, so that the bias is added within the product

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """Every token among those of its window: a call for each part of the grid, see `map_shifted`."""
        window, shift = self._fit(size)
        parts: list[Tensor] = []

        def attend(part: Tensor, wrapped: tuple[bool, ...]) -> Tensor:
            parts.append(nd.partition_windows(part, window)[..., 0] - 1)  # (W, N)
            return part

        map_shifted(nd.pad_to_multiple(nd.count_places(size) + 1, window), attend, window=window, shift=shift)
        return [Places(part, part, tuple(size), tuple(size)) for part in parts]

    def _fit(self, size: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Window and shift for a grid of this size."""
        covered = [s <= w and self.small_maps != "shift" for s, w in zip(size, self.window, strict=True)]
        shift = tuple(0 if c else s for s, c in zip(self.shift, covered, strict=True))
        if self.small_maps != "shrink":
            return self.window, shift
        return tuple(s if c else w for s, w, c in zip(size, self.window, covered, strict=True)), shift

    def _bounds(self, size: Sequence[int]) -> tuple[list[int], list[int]]:
        """The sizes for which the windows are laid out as they are for this one."""
        alone = [s <= w for s, w in zip(size, self.window, strict=True)]
        kept = self.small_maps == "shrink"  # then the window is as long as the axis
        pairs = list(zip(size, self.window, alone, strict=True))
        low = [(s if kept else 1) if one else w + 1 for s, w, one in pairs]
        return low, [(s if kept else w) if one else ANY for s, w, one in pairs]

    def _bias(self, num_tokens: int) -> Tensor:
        """Bias of each pair among the first tokens of a window: (H, N, N)."""
        table = self.relative_position_bias_table.t().contiguous()  # (H, rows)
        index = relative_position_index(self.window, device=table.device)[:num_tokens, :num_tokens]
        return table.index_select(1, index.flatten()).unflatten(1, (num_tokens, num_tokens))

    def _pad(self, qkv: Tensor, window: Sequence[int]) -> Tensor:
        """(B, *S, 3C) -> (B, *S', 3C), S' whole windows: what a token of zeros projects to is the projection's bias."""
        for dim, w in enumerate(window, start=1):
            missing = -qkv.shape[dim] % w
            if missing or torch.jit.is_tracing():
                shape = [missing if i == dim else n for i, n in enumerate(qkv.shape)]
                qkv = torch.cat([qkv, self.qkv.bias.to(qkv.dtype).expand(shape)], dim)
        return qkv

    def _attend(self, qkv: Tensor, window: Sequence[int], *, mask: Tensor) -> Tensor:
        """(B, *S', 3C) -> (B, *S', C): attention in unshifted windows which have the same additive mask (H, N, N)."""
        tokens = nd.partition_windows(qkv, window).unflatten(-1, (3, self.num_heads, -1))  # (windows, N, 3, H, C / H)
        q, k, v = tokens.movedim(1, -2).unbind(1)  # (windows, H, N, C / H) each
        out = self.attend(q, k, v, mask=mask.to(q.dtype)[None])  # one mask, never repeated
        return nd.merge_windows(out.transpose(1, 2).flatten(2), window, qkv.shape[1:-1])


class PatchMerging(nn.Module):
    """Stack 2 x 2 (x 2) neighbours, LayerNorm, Linear: (B, *S, C) -> (B, *ceil(S / 2), 2 C).

    Zeros fill up odd sizes. `merge_order` is the order of the neighbours in the stack, in 3D: "fixed" as in Swin and in
    MONAI from 1.5 on; "legacy" as in MONAI before, with which Swin UNETR's published weights were trained; "v2" as in
    MONAI's "mergingv2". In 2D there is but one.
    """

    def __init__(self, spatial_dims: int, dim: int, *, merge_order: str = "fixed"):
        super().__init__()
        if merge_order not in MERGE_ORDERS:
            raise ValueError(f"merge_order must be one of {', '.join(MERGE_ORDERS)}, got {merge_order!r}")
        self.merge_order = merge_order
        self.corners = _corners(spatial_dims, merge_order)
        self.has_orders = len({tuple(_corners(spatial_dims, order)) for order in MERGE_ORDERS}) > 1
        self.norm = nn.LayerNorm(2**spatial_dims * dim, eps=1e-5)
        self.reduction = nn.Linear(2**spatial_dims * dim, 2 * dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = nd.pad_to_multiple(x, 2)
        stack = [x[(slice(None), *(slice(i, None, 2) for i in offset))] for offset in self.corners]
        return self.reduction(self.norm(torch.cat(stack, dim=-1)))


def _corners(spatial_dims: int, order: str) -> list[tuple[int, ...]]:
    listed = [tuple(map(int, offset)) for offset in OTHER_MERGE_ORDERS.get(order, ()) if len(offset) == spatial_dims]
    # As usual: by the number of axes moved along, the first axis first. 2D: 00, 10, 01, 11.
    usual = sorted(product((1, 0), repeat=spatial_dims), key=sum)
    return listed or usual
