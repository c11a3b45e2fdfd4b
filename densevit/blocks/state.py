"""Tokens that know the size of their grid: what flows through MViT, its way in and its way out.

Dimension key: B batch, T tokens beside the grid (0, or 1 class token), N tokens of the grid, S its size, C channels.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd


class State(NamedTuple):
    """Tokens (B, T + N, C), the size of their grid, and T: extra tokens stand in front."""

    tokens: Tensor
    size: tuple[int, ...]
    num_extra: int = 0


def grid_of(state: State) -> Tensor:
    """(B, T + N, C) -> (B, *S, C), a view."""
    return state.tokens[:, state.num_extra :].unflatten(1, state.size)


def map_grid(state: State, function: Callable[[Tensor], Tensor]) -> State:
    """Put the grid (B, *S, C) through a function that may change its size; extra tokens stay as they are."""
    grid = function(grid_of(state))
    tokens = grid.flatten(1, -2)
    if state.num_extra:
        tokens = torch.cat([state.tokens[:, : state.num_extra], tokens], dim=1)
    return State(tokens, tuple(grid.shape[1:-1]), state.num_extra)


class GridTokens(nn.Module):
    """A grid as tokens, with positions and a class token where asked for: (B, *S, C) -> State (B, T + N, C).

    `grid` is the size of the learned tables of absolute positions, which any other size resizes: one for the last two
    axes, one for the axis before them (the time of video), one row for the class token. None: no positions.
    """

    def __init__(self, dim: int, *, grid: Sequence[int] | None = None, class_token: bool = False):
        super().__init__()
        self.grid = None if grid is None else tuple(grid)
        self.cls_token = _table(1, dim) if class_token else None
        self.pos_embed_class = _table(1, dim) if class_token and grid else None
        self.pos_embed_spatial = _table(prod(grid[-2:]), dim) if grid else None
        self.pos_embed_temporal = _table(grid[0], dim) if grid and grid[:-2] else None

    def forward(self, grid: Tensor) -> State:
        if self.grid is not None:
            grid = grid + self._positions(grid.shape[1:-1])
        tokens = grid.flatten(1, -2)
        if self.cls_token is None:
            return State(tokens, tuple(grid.shape[1:-1]))
        extra = self.cls_token if self.pos_embed_class is None else self.cls_token + self.pos_embed_class
        extra = extra.to(tokens.dtype).expand(len(tokens), -1, -1)
        return State(torch.cat([extra, tokens], dim=1), tuple(grid.shape[1:-1]), num_extra=1)

    def _positions(self, size: Sequence[int]) -> Tensor:
        """(1, *size, C), or what broadcasts to it."""
        plane = nd.to_image(self.pos_embed_spatial.unflatten(1, self.grid[-2:]))  # (1, C, h, w)
        plane = nd.to_grid(nd.resize(plane, size[-2:]))  # (1, H, W, C)
        if self.pos_embed_temporal is None:
            return plane
        line = F.interpolate(self.pos_embed_temporal.mT, size=size[0], mode="linear").mT  # (1, D, C)
        return plane[:, None] + line[:, :, None, None]


class GridNorm(nn.Module):
    """LayerNorm of the grid alone: State (B, T + N, C) -> (B, *S, C)."""

    def __init__(self, dim: int, *, eps: float = 1e-6):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, state: State) -> Tensor:
        return F.layer_norm(grid_of(state), self.weight.shape, self.weight, self.bias, self.eps)


def _table(length: int, dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, length, dim), std=0.02))
