"""Absolute positions of a grid's cells, and the tokens that stand before them.

Dimension key: B batch, T class and distillation tokens, N = prod(S) cells, C channels.
"""

from collections.abc import Sequence
from math import pi, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.tokens import CLASS, DISTILLATION, REGISTER, Tokens
from densevit.blocks.traced import refuse_any_size, within_bounds

# To the size of the grid; by DINO's factor of (n + 0.1) / N for n cells from N, which reads slightly other places; or
# to the size, cubic along each axis, where a smaller table averages over what lies between its cells (antialiasing).
RESIZINGS = ("size", "dino", "antialias")
DINO_OFFSET = 0.1
TOKENS = {"cls_token": CLASS, "dist_token": DISTILLATION}


class PrefixTokens(nn.Module):
    """Learned tokens before those of a grid: (B, *S, C) -> Tokens (B, T + N, C), or the grid itself where T is 0.

    One of `num_tokens` is a class token, two are a class and a distillation token, in the order of DeiT
    (https://arxiv.org/abs/2012.12877). `num_registers` come after them and have no positions
    (https://arxiv.org/abs/2309.16588). All take part in attention and are left out of feature maps.
    """

    def __init__(self, dim: int, *, num_tokens: int = 0, num_registers: int = 0):
        super().__init__()
        if not 0 <= num_tokens <= len(TOKENS):
            raise ValueError(f"num_tokens must be 0, 1 (class) or 2 (class and distillation), got {num_tokens}")
        if num_registers < 0:
            raise ValueError(f"num_registers must be 0 or more, got {num_registers}")
        self.names = list(TOKENS)[:num_tokens]
        for name in self.names:
            self.register_parameter(name, nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=0.02)))
        if num_registers:
            self.reg_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, num_registers, dim), std=0.02))
        self.prefix = (*(TOKENS[name] for name in self.names), *[REGISTER] * num_registers)

    def forward(self, grid: Tensor, positions: Tensor | None = None) -> Tensor | Tokens:
        if not self.prefix:
            return grid
        first = [getattr(self, name) for name in self.names]  # tensors that stand in for parameters too
        if positions is not None and first:
            first = [torch.cat(first, dim=1) + positions]
        first = [*first, self.reg_token] if REGISTER in self.prefix else first
        prefix = torch.cat(first, dim=1).expand(len(grid), -1, -1)
        return Tokens(torch.cat([prefix, grid.flatten(1, -2)], dim=1), tuple(grid.shape[1:-1]), self.prefix)


class LearnedPositions(nn.Module):
    """Add a learned table, resized to the grid that comes: (B, *S, C) -> (B, *S, C), or Tokens with a prefix.

    The table is made for `grid`; `mode` is that of torch's interpolate, `resizing` one of RESIZINGS. Tokens have
    positions of their own, which are the table's first rows.
    """

    kind = "learned"

    def __init__(
        self,
        dim: int,
        *,
        grid: Sequence[int],
        num_tokens: int = 0,
        num_registers: int = 0,
        mode: str,
        resizing: str = "size",
    ):
        super().__init__()
        if resizing not in RESIZINGS:
            raise ValueError(f"resizing must be {', '.join(map(repr, RESIZINGS))}, got {resizing!r}")
        self.grid, self.num_tokens, self.mode, self.resizing = tuple(grid), num_tokens, mode, resizing
        table = torch.empty(1, num_tokens + prod(self.grid), dim)
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.tokens = PrefixTokens(dim, num_tokens=num_tokens, num_registers=num_registers)

    def forward(self, x: Tensor) -> Tensor | Tokens:
        size = x.shape[1:-1]
        if self.resizing == "dino":
            refuse_any_size(size, who="resizing='dino'")
            x = within_bounds(x, size, size, why="resizing='dino' computes a factor from the size")
        table = resize_positions(self.pos_embed, grid=self.grid, size=size, mode=self.mode, resizing=self.resizing)
        return self.tokens(x + table[:, self.num_tokens :].unflatten(1, size), table[:, : self.num_tokens])


class SinCosPositions(nn.Module):
    """Add fixed sines and cosines: (B, *S, C) -> (B, *S, C), or Tokens whose prefix has no position.

    `kind` is "sincos", whose wavelengths end before 10000, or "big_vision_sincos", whose last one is 10000.
    """

    def __init__(self, dim: int, *, kind: str = "sincos", num_tokens: int = 0, num_registers: int = 0):
        super().__init__()
        self.kind = kind
        self.tokens = PrefixTokens(dim, num_tokens=num_tokens, num_registers=num_registers)

    def forward(self, x: Tensor) -> Tensor | Tokens:
        to_end = self.kind == "big_vision_sincos"
        table = sincos_positions(x.shape[1:-1], x.shape[-1], device=x.device, to_end=to_end)
        return self.tokens(x + table.to(x.dtype))


def make_positions(
    kind: str | None,
    dim: int,
    *,
    grid: Sequence[int],
    num_tokens: int = 0,
    num_registers: int = 0,
    mode: str,
    resizing: str = "size",
) -> nn.Module:
    """Positions by name: (B, *S, C) -> (B, *S, C), or Tokens with a prefix. None adds the prefix alone."""
    before = dict(num_tokens=num_tokens, num_registers=num_registers)
    if kind == "learned":
        return LearnedPositions(dim, grid=grid, mode=mode, resizing=resizing, **before)
    if kind in ("sincos", "big_vision_sincos"):
        return SinCosPositions(dim, kind=kind, **before)
    if kind is None:
        return PrefixTokens(dim, **before)
    raise ValueError(f"position must be 'learned', 'sincos', 'big_vision_sincos' or None, got {kind!r}")


def resize_positions(
    table: Tensor, *, grid: Sequence[int], size: Sequence[int], mode: str, resizing: str = "size"
) -> Tensor:
    """(1, T + prod(grid), C) -> (1, T + prod(size), C): the first T rows stay, the others are interpolated."""
    grid, size = tuple(grid), tuple(size)
    of_any_size = resizing != "dino" and (torch.compiler.is_exporting() or torch.jit.is_tracing())
    if not of_any_size and grid == size:  # a program for every size must not ask for one
        return table
    num_tokens = table.shape[1] - prod(grid)
    cells = nd.to_image(table[:, num_tokens:].unflatten(1, grid))
    if resizing == "dino":
        scale = [(int(n) + DINO_OFFSET) / length for n, length in zip(size, grid, strict=True)]
        resized = F.interpolate(cells, scale_factor=scale, mode=mode, align_corners=False)
    elif resizing == "antialias":
        resized = nd.to_image(resize_cubic(nd.to_grid(cells)[0], size, antialias=True)[None])
    else:
        resized = F.interpolate(cells, size=size, mode=mode)
    resized = nd.to_grid(resized).flatten(1, -2)
    return torch.cat([table[:, :num_tokens], resized], dim=1)


def resize_cubic(grid: Tensor, size: Sequence[int], *, antialias: bool = False) -> Tensor:
    """(*S, C) -> (*size, C), cubic along each axis in turn; in 2D it is bicubic interpolation."""
    for axis, length in enumerate(size):
        if antialias or grid.shape[axis] != length:
            columns = grid.movedim(axis, -1)  # (..., C, S_axis)
            rows = columns.flatten(0, -2)[None, None]  # one picture, resized along its last axis alone
            size_out = (rows.shape[2], length)
            resized = F.interpolate(rows, size=size_out, mode="bicubic", align_corners=False, antialias=antialias)[0, 0]
            grid = resized.unflatten(0, columns.shape[:-1]).movedim(-1, axis)
    return grid


def sincos_positions(
    size: Sequence[int], dim: int, *, device: torch.device | None = None, to_end: bool = False
) -> Tensor:
    """(*S, C) of sines and cosines of each coordinate at dim / (2 * axes) frequencies, as in MAE and MONAI.

    The second axis has the first channels, then come the first and the third; what does not divide stays 0. With
    `to_end` the last frequency is 1 / 10000, as in big_vision. The table is computed each time: an axis at a time, that
    costs next to nothing, and nothing need be kept.
    """
    count = dim // (2 * len(size))
    rates = 10000.0 ** -(torch.arange(count, device=device) / max(count - to_end, 1))
    waves = []
    for axis in (1, 0, 2)[: len(size)]:  # 2D: columns, rows; 3D: H, D, W
        angles = torch.arange(size[axis], device=device)[:, None] * rates  # (S_axis, count)
        shape = [size[axis] if other == axis else 1 for other in range(len(size))]
        waves.append(torch.cat([angles.sin(), angles.cos()], dim=-1).view(*shape, -1).expand(*size, -1))
    return F.pad(torch.cat(waves, dim=-1), (0, dim - 2 * count * len(size)))


class FourierPositions(nn.Module):
    """Add a linear map of sines and cosines of each coordinate, as a part of its axis: (B, *S, C) -> (B, *S, C).

    The map is made axis by axis and summed, so that it costs next to nothing. https://arxiv.org/abs/2106.09681
    """

    def __init__(self, spatial_dims: int, dim: int, *, waves: int = 32, temperature: float = 10000.0):
        super().__init__()
        self.waves, self.temperature = waves, temperature
        self.token_projection = nn.Linear(spatial_dims * waves, dim)

    def forward(self, grid: Tensor) -> Tensor:
        weights = self.token_projection.weight.split(self.waves, dim=1)  # (C, waves) for each axis
        for axis, weight in enumerate(weights):
            line = self._waves(grid.shape[1 + axis], device=grid.device).to(weight.dtype) @ weight.mT  # (S_axis, C)
            grid = grid + line.view(*[-1 if other == axis else 1 for other in range(len(weights))], line.shape[-1])
        return grid + self.token_projection.bias

    def _waves(self, length: int, *, device: torch.device) -> Tensor:
        """(length, waves): sine and cosine in turn, of ever longer waves; single precision, as published."""
        part = torch.arange(1, length + 1, device=device, dtype=torch.float32) / (length + 1e-6) * (2 * pi)
        rates = self.temperature ** (torch.arange(0, self.waves, 2, device=device, dtype=torch.float32) / self.waves)
        angles = part[:, None] / rates
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
