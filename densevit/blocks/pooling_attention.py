"""Pooling attention: queries, keys and values are pooled first (MViT). https://arxiv.org/abs/2104.11227

Every module maps Tokens to Tokens. Dimension key: B batch, T tokens before the grid (0, or 1 class token), N and M
query and key tokens of the grid, C channels, H heads, K channels per head, R rows, columns (and slices) of the keys.
"""

from collections.abc import Sequence
from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.attention import Attend, Places, everywhere, merge_heads
from densevit.blocks.tokens import Tokens, as_tokens
from densevit.blocks.transformer import DropPath, Mlp

RESIDUALS = ("none", "grid", "all")


class HeadPool(nn.Module):
    """One depthwise convolution for all heads, then LayerNorm of each head: (B, T + N, H * K) -> (B, T + N', H * K).

    Tokens before the grid are normed only.
    """

    def __init__(self, spatial_dims: int, head_dim: int, *, stride: int | Sequence[int] = 1):
        super().__init__()
        self.spatial_dims = spatial_dims
        self.conv = nd.CONV[spatial_dims](head_dim, head_dim, 3, stride, padding=1, groups=head_dim, bias=False)
        self.norm = nn.LayerNorm(head_dim, eps=1e-6)

    def forward(self, tokens: Tokens) -> Tokens:
        pooled = tokens.map_grid(self._convolve)
        heads = pooled.values.unflatten(-1, (-1, self.conv.out_channels))  # (B, T + N', H, K)
        return pooled._replace(values=self.norm(heads).flatten(2))

    def _convolve(self, grid: Tensor) -> Tensor:
        channels = grid.shape[-1]
        kernels = self.conv.weight.repeat(channels // self.conv.out_channels, *[1] * (self.spatial_dims + 1))
        convolve = nd.CONVOLVE[self.spatial_dims]
        return nd.to_grid(convolve(nd.to_image(grid), kernels, stride=self.conv.stride, padding=1, groups=channels))


class SkipPool(nn.Module):
    """Max pooling of the stream where queries are strided: (B, T + N, C) -> (B, T + N', C)."""

    def __init__(self, spatial_dims: int, *, stride: int | Sequence[int]):
        super().__init__()
        strides = nd.ntuple(stride, spatial_dims)
        kernel = tuple(s + 1 if s > 1 else 1 for s in strides)
        self.pool = nd.MAX_POOL[spatial_dims](kernel, strides, padding=tuple(k // 2 for k in kernel))

    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.map_grid(lambda grid: nd.to_grid(self.pool(nd.to_image(grid))))


class PoolingAttention(nn.Module):
    """Attention of pooled queries to pooled keys: (B, T + N, C) -> (B, T + N', C_out).

    `pools` are those of queries, keys and values. `table_lengths` has the rows of each axis's table of relative
    positions, which any grid resizes; none leaves positions out. `residual` adds the pooled queries to what they
    attended to: those of the "grid", "all" with the tokens before it, or "none". `windows` are the sizes, in tokens of
    the pooled queries and keys, of the windows that attend to themselves alone; grids are filled up with zeros.
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        *,
        num_heads: int,
        pools: Sequence[nn.Module],
        table_lengths: Sequence[int] = (),
        residual: str = "none",
        windows: tuple[Sequence[int], Sequence[int]] | None = None,
    ):
        super().__init__()
        if residual not in RESIDUALS:
            raise ValueError(f"residual must be one of {', '.join(RESIDUALS)}, got {residual!r}")
        self.num_heads = num_heads
        self.residual = residual
        self.windows = windows
        self.qkv = nn.Linear(dim, 3 * dim_out)
        self.pool_q, self.pool_k, self.pool_v = pools
        self.rel_pos = nn.ParameterList([torch.empty(length, dim_out // num_heads) for length in table_lengths])
        self.proj = nn.Linear(dim_out, dim_out)
        self.attend = Attend()
        for table in self.rel_pos:
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, tokens: Tokens) -> Tokens:
        # Three products instead of one, so that each result is contiguous for its convolution.
        weights = zip(self.qkv.weight.chunk(3), self.qkv.bias.chunk(3), strict=True)
        q, k, v = (tokens._replace(values=F.linear(tokens.values, weight, bias)) for weight, bias in weights)
        q, k, v = self.pool_q(q), self.pool_k(k), self.pool_v(v)
        if self.windows is None:
            out = self._attend(q, k, v)
        else:
            windows = (self.windows[0], self.windows[1], self.windows[1])
            parts = [_partition(x, window) for x, window in zip((q, k, v), windows, strict=True)]
            out = _merge(self._attend(*parts), windows[0], size=q.size)
        if self.residual == "grid" and q.prefix:
            out = out + F.pad(q.values[:, len(q.prefix) :], [0, 0, len(q.prefix), 0])
        elif self.residual != "none":
            out = out + q.values
        return q._replace(values=self.proj(out))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """Every pooled token among all pooled ones, or among those of its window."""
        tokens = self.proj.weight.new_zeros(1, len(prefix) + prod(size), self.proj.in_features)
        sizes = [pool(Tokens(tokens, tuple(size), tuple(prefix))).size for pool in (self.pool_q, self.pool_k)]
        if self.windows is None:
            return [everywhere(*sizes, num_prefix=len(prefix))]
        parts = zip(sizes, self.windows, strict=True)
        numbers = [_partition(as_tokens(nd.count_places(each) + 1), window).values for each, window in parts]
        return [Places(*(each[..., 0] - 1 for each in numbers), *sizes)]

    def _attend(self, q: Tokens, k: Tokens, v: Tokens) -> Tensor:
        """(B, T + N, C)"""
        queries, keys, values = (x.values.unflatten(-1, (self.num_heads, -1)) for x in (q, k, v))
        width = queries.shape[-1]
        if len(self.rel_pos):
            options = dict(q_size=q.size, k_size=k.size, num_prefix=len(q.prefix))
            queries, keys = with_positions(queries, keys, tables=list(self.rel_pos), **options)
        # (B, H, tokens, K + R) each: equal widths are what the fused kernels ask for.
        operands = [x.transpose(1, 2) for x in (queries, keys, F.pad(values, [0, keys.shape[-1] - width]))]
        return merge_heads(self.attend(*operands, scale=width**-0.5)[..., :width])


def _partition(tokens: Tokens, window: Sequence[int]) -> Tokens:
    """(B, N, C) -> (B * n_windows, prod(window), C)"""
    grid = nd.pad_to_multiple(tokens.grid, window)
    return Tokens(nd.partition_windows(grid, window), tuple(window))


def _merge(windows: Tensor, window: Sequence[int], *, size: Sequence[int]) -> Tensor:
    """(B * n_windows, prod(window), C) -> (B, N, C): the inverse of `_partition`."""
    whole = [n * w for n, w in zip(nd.ceil_div(size, window), window, strict=True)]
    return nd.crop(nd.merge_windows(windows, window, whole), size).flatten(1, -2)


class PoolingBlock(nn.Module):
    """Pooling attention and Mlp, each with its residual: (B, T + N, C) -> (B, T + N', C_out).

    The width grows in the attention or in the Mlp; the stream beside the one that grows it is its normed input through
    `proj`.
    """

    def __init__(
        self,
        dim: int,
        dim_out: int,
        *,
        attention: nn.Module,
        pool_skip: nn.Module | None = None,
        grow_in_mlp: bool = False,
        drop_path: float = 0.0,
    ):
        super().__init__()
        attended = dim if grow_in_mlp else dim_out
        self.grow_in_mlp = grow_in_mlp
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = attention
        self.norm2 = nn.LayerNorm(attended, eps=1e-6)
        self.mlp = Mlp(attended, dim_out=dim_out)
        self.proj = nn.Linear(dim, dim_out) if dim != dim_out else None
        self.pool_skip = nn.Identity() if pool_skip is None else pool_skip
        self.drop_path = DropPath(drop_path)

    def forward(self, tokens: Tokens) -> Tokens:
        normed = self.norm1(tokens.values)
        skip = tokens if self.proj is None or self.grow_in_mlp else tokens._replace(values=self.proj(normed))
        attended = self.attn(tokens._replace(values=normed))
        x = self.pool_skip(skip).values + self.drop_path(attended.values)
        normed = self.norm2(x)
        if self.proj is not None and self.grow_in_mlp:
            x = self.proj(normed)
        return attended._replace(values=x + self.drop_path(self.mlp(normed)))


def with_positions(
    q: Tensor, k: Tensor, *, tables: Sequence[Tensor], q_size: Sequence[int], k_size: Sequence[int], num_prefix: int
) -> tuple[Tensor, Tensor]:
    """(B, T + N, H, K), (B, T + M, H, K) -> (B, T + N, H, K + R), (B, T + M, H, K + R): with positions as channels.

    Their products, scaled by 1 / sqrt(K), are the logits with the unscaled term of each axis; tokens before the grid
    have none.
    """
    batch, _, num_heads, width = q.shape
    terms = query_terms(q[:, num_prefix:].unflatten(1, tuple(q_size)), tables, k_size=k_size) * width**0.5
    axes = key_axes(k_size, like=k)[:, None].expand(batch, -1, num_heads, -1)  # (B, M, H, R)
    if num_prefix:
        terms, axes = (F.pad(t, [0, 0, 0, 0, num_prefix, 0]) for t in (terms, axes))
    return torch.cat([q, terms], dim=-1), torch.cat([k, axes], dim=-1)


def query_terms(q: Tensor, tables: Sequence[Tensor], *, k_size: Sequence[int]) -> Tensor:
    """(B, *S, H, K) -> (B, N, H, R): the products of each query with the rows of the tables for its distances."""
    terms = []
    for axis, (table, length) in enumerate(zip(tables, k_size, strict=True), start=1):
        rows = distance_rows(table, q_length=q.shape[axis], k_length=length)  # (S_axis, Z_axis, K)
        lines = q.movedim(axis, 1)  # (B, S_axis, *other axes, H, K)
        term = lines.flatten(2, -2) @ rows.mT  # (B, S_axis, others * H, Z_axis)
        terms.append(term.unflatten(2, lines.shape[2:-1]).movedim(1, axis))
    return torch.cat(terms, dim=-1).flatten(1, -3)


def key_axes(k_size: Sequence[int], *, like: Tensor) -> Tensor:
    """(M, R): for each key, ones at its place along each axis."""
    places = [torch.eye(length, dtype=like.dtype, device=like.device) for length in k_size]
    shapes = [[1] * axis + [n] + [1] * (len(k_size) - axis - 1) + [n] for axis, n in enumerate(k_size)]
    grids = [place.view(shape).expand(*k_size, -1) for place, shape in zip(places, shapes, strict=True)]
    return torch.cat(grids, dim=-1).flatten(0, -2)


def distance_rows(table: Tensor, *, q_length: int, k_length: int) -> Tensor:
    """(L, K) -> (q_length, k_length, K): the table's row for each pair of places along one axis.

    The table is resized to 2 * max(q_length, k_length) - 1 rows, from the farthest key behind to the farthest ahead;
    the shorter of the two lengths is stretched to the longer, and distances are cut to whole rows, as published.
    """
    longest = max(q_length, k_length)
    rows = F.interpolate(table.mT[None], size=2 * longest - 1, mode="linear")[0].mT
    places = torch.arange(q_length, device=table.device)[:, None] * longest // q_length
    behind = torch.arange(k_length - 1, -1, -1, device=table.device) * longest // k_length
    return rows[places + behind]
