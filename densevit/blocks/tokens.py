"""Tokens that know the size of their grid and what stands before it: the one type of tokens in every family.

Dimension key: B batch, T tokens before the grid, N tokens of the grid, S its size, C channels.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd

CLASS, DISTILLATION, REGISTER = "class", "distillation", "register"  # what stands before a grid


class Relations(NamedTuple):
    """What attention is told of the places of T + N tokens; None where it is told nothing.

    Queries and keys of K channels are turned: each channel times `cos` plus the other one of its pair times `sin`,
    both (T + N, K), `sin` negative for the first of a pair. A channel of the first half makes a pair with the same one
    of the second half, or with `neighbours` with the next. `bias` (1, T + N) is added to the logits of the keys; one of
    bool (T + N, T + N) says which keys each query may see.
    """

    cos: Tensor | None = None
    sin: Tensor | None = None
    neighbours: bool = False
    bias: Tensor | None = None

    def turned(self, cos: Tensor, sin: Tensor) -> "Relations":
        """These with a turn of each pair of channels by the angles of these cosines and sines, (T + N, K / 2) each."""
        dim = -1 if self.neighbours else -2
        cos, sin = (torch.stack(both, dim=dim).flatten(-2) for both in ((cos, cos), (-sin, sin)))
        return self._replace(cos=cos, sin=sin)

    def at(self, places: Tensor) -> "Relations":
        """Those of some tokens of each image, by their numbers (B, L): cos and sin (B, 1, L, K), bias (B, 1, 1, L)."""
        cos, sin = (None if turns is None else turns[places][:, None] for turns in (self.cos, self.sin))
        bias = None if self.bias is None else self.bias[0, places][:, None, None]
        return self._replace(cos=cos, sin=sin, bias=bias)


class VisualTokens(NamedTuple):
    """Tokens made of a whole grid, and the weights of the pixels that each of the L was made of (`visual_tokens`)."""

    values: Tensor  # (B, L, width of a token)
    maps: Tensor  # (B, L, *S), each map sums to 1


class Tokens(NamedTuple):
    """Values (B, T + N, C), the size of the grid, and what each of the T tokens before it is, such as CLASS.

    `relations` are for the attention of blocks that know them, as long as the grid keeps its size. `visual` are tokens
    that a block has made of the grid, of their own number and width, for the next block and for class heads.
    `kept` (B, K) are the numbers of the cells that there are, in training with `DropTokens`; None: all N are there.
    """

    values: Tensor
    size: tuple[int, ...]
    prefix: tuple[str, ...] = ()
    relations: Relations | None = None
    visual: VisualTokens | None = None
    kept: Tensor | None = None

    @property
    def grid(self) -> Tensor:
        """(B, *S, C), a view; where cells are missing, a copy with zeros in their place."""
        cells = self.values[:, len(self.prefix) :]
        if self.kept is not None:
            whole = cells.new_zeros(len(cells), prod(self.size), cells.shape[-1])
            cells = whole.scatter(1, self.kept[..., None].expand_as(cells), cells)
        return cells.unflatten(1, self.size)

    def named(self, name: str) -> Tensor | None:
        """The tokens before the grid that have this name, (B, count, C), a view; None if no token has it."""
        first, count = (self.prefix.index(name), self.prefix.count(name)) if name in self.prefix else (0, 0)
        return self.values[:, first : first + count] if count else None

    def map_grid(self, function: Callable[[Tensor], Tensor]) -> "Tokens":
        """Put the grid (B, *S, C) through a function that may change its size; tokens before it stay as they are."""
        grid = function(self.grid)
        values = grid.flatten(1, -2)
        if self.prefix:
            values = torch.cat([self.values[:, : len(self.prefix)], values], dim=1)
        return Tokens(values, tuple(grid.shape[1:-1]), self.prefix)


class DropTokens(nn.Module):
    """In training, some cells of each image are left out: Tokens (B, T + N, C) -> (B, T + K, C) with `kept`.

    They are a share `rate` of the N, at random and others in each image; one at least stays, and so do tokens before
    the grid. Cells that stay keep the angles by which they are turned. https://arxiv.org/abs/2212.00794
    """

    def __init__(self, rate: float):
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"the share of tokens that are dropped must be from 0 to below 1, got {rate}")
        self.rate = rate

    def forward(self, tokens: Tokens) -> Tokens:
        if not self.training or not self.rate:
            return tokens
        batch, total, before = len(tokens.values), prod(tokens.size), len(tokens.prefix)
        count = max(int(total * (1 - self.rate)), 1)
        kept = torch.rand(batch, total, device=tokens.values.device).argsort(dim=1)[:, :count]
        places = torch.cat([torch.arange(before, device=kept.device).expand(batch, -1), before + kept], dim=1)
        values = tokens.values.gather(1, places[..., None].expand(-1, -1, tokens.values.shape[-1]))
        relations = None if tokens.relations is None else tokens.relations.at(places)
        return tokens._replace(values=values, relations=relations, kept=kept)


def as_tokens(x: Tensor | Tokens) -> Tokens:
    """A grid (B, *S, C) as tokens with nothing before them, a view; tokens are returned unchanged."""
    return x if isinstance(x, Tokens) else Tokens(x.flatten(1, -2), tuple(x.shape[1:-1]))


def as_grid(x: Tensor | Tokens) -> Tensor:
    """The grid of tokens (B, *S, C), a view; a grid is returned unchanged."""
    return x.grid if isinstance(x, Tokens) else x


class GridTokens(nn.Module):
    """A grid as tokens, with positions and a class token where asked for: (B, *S, C) -> Tokens (B, T + N, C).

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

    def forward(self, grid: Tensor) -> Tokens:
        if self.grid is not None:
            grid = grid + self._positions(grid.shape[1:-1])
        tokens = as_tokens(grid)
        if self.cls_token is None:
            return tokens
        extra = self.cls_token if self.pos_embed_class is None else self.cls_token + self.pos_embed_class
        extra = extra.to(tokens.values.dtype).expand(len(tokens.values), -1, -1)
        return Tokens(torch.cat([extra, tokens.values], dim=1), tokens.size, (CLASS,))

    def _positions(self, size: Sequence[int]) -> Tensor:
        """(1, *size, C), or what broadcasts to it."""
        plane = nd.to_image(self.pos_embed_spatial.unflatten(1, self.grid[-2:]))  # (1, C, h, w)
        plane = nd.to_grid(nd.resize(plane, size[-2:]))  # (1, H, W, C)
        if self.pos_embed_temporal is None:
            return plane
        line = F.interpolate(self.pos_embed_temporal.mT, size=size[0], mode="linear").mT  # (1, D, C)
        return plane[:, None] + line[:, :, None, None]


def _table(length: int, dim: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(1, length, dim), std=0.02))
