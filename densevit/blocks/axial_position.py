"""Relative positions decomposed by axis (MViT v2), as channels of queries and keys. https://arxiv.org/abs/2112.01526

The logit of query n and key m gets the sum over axes of q_n . table[distance along the axis]. Written as more channels
it is an ordinary product, which every attention kernel knows: docs/decisions/mvit_positions.md has the measurements.
Dimension key: B batch, T tokens beside the grid, N and M query and key tokens of the grid, *S and *Z their sizes,
H heads, K channels per head, R = sum(Z).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


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
