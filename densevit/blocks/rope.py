"""Rotary positions of grids of any rank: by which angles attention turns queries and keys of each cell.

Dimension key: T tokens before the grid, S its size, N = prod(S) cells, n axes, K channels of a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks.tokens import Relations, Tokens, as_tokens

FLAT = 2  # axes of a picture, the last ones of a volume


@dataclass(frozen=True)
class Jitter:
    """Coordinates that change while a model is trained, anew for each forward, as in DINOv3; None changes nothing.

    `shift`: plus a number from -shift to shift for each axis. `jitter`: times a factor from 1 / jitter to jitter for
    each axis, its logarithm uniform. `rescale`: the same with one factor for all axes.
    """

    shift: float | None = None
    jitter: float | None = None
    rescale: float | None = None

    def __post_init__(self) -> None:
        if self.shift is not None and not 0 <= self.shift < float("inf"):
            raise ValueError(f"shift must be 0 or more, got {self.shift}")
        for name, factor in (("jitter", self.jitter), ("rescale", self.rescale)):
            if factor is not None and not 1 <= factor < float("inf"):
                raise ValueError(f"{name} must be a factor of 1 or more, got {factor}")

    def apply(self, lines: Sequence[Tensor]) -> list[Tensor]:
        """Coordinates of each axis, [(S_i)] -> [(S_i)]."""
        changed = list(lines)
        if self.shift is not None:
            changed = [line + torch.empty_like(line[:1]).uniform_(-self.shift, self.shift) for line in changed]
        if self.jitter is not None:
            changed = [line * _factor(line, self.jitter) for line in changed]
        if self.rescale is not None:
            factor = _factor(changed[0], self.rescale)
            changed = [line * factor for line in changed]
        return changed


def _factor(like: Tensor, most: float) -> Tensor:
    return torch.empty_like(like[:1]).uniform_(-log(most), log(most)).exp()


class AxialRope(nn.Module):
    """Axial rotary positions: the size of a grid -> cosines and sines of its cells, each (N, K / 2).

    https://arxiv.org/abs/2104.09864, for each axis its share of the K / 2 pairs of channels, the first axis first, by
    the rates base ** (-i / count), i = 0 to count - 1, where count = K // (2 n); pairs that are left over do not turn.

    `reference=None`: coordinates are those of the cells' centres, from -1 to 1 whatever the size, times 2 pi (DINOv3,
    https://arxiv.org/abs/2508.10104). With a `reference` they are numbers of cells counted from 0, in a grid stretched
    to that size (EVA-02, https://arxiv.org/abs/2303.11331; Primus, https://arxiv.org/abs/2503.01835).

    `inflated`: the last two axes have their share as in a picture, and the axes before them turn the same pairs by
    rates of their own, which are learned and begin with zero: weights of pictures then do in each slice of a volume
    what they do in a picture.
    """

    def __init__(
        self,
        head_dim: int,
        spatial_dims: int,
        *,
        base: float = 100.0,
        reference: Sequence[int] | None = None,
        jitter: Jitter | None = None,
        inflated: bool = False,
    ):
        super().__init__()
        axes = FLAT if inflated else spatial_dims
        if head_dim % 2 or head_dim < 2 * axes:
            raise ValueError(f"channels of a head must be an even number from {2 * axes} on to rotate, got {head_dim}")
        if reference is not None and len(reference) != spatial_dims:
            raise ValueError(f"reference must have {spatial_dims} sizes, one per axis, got {tuple(reference)}")
        self.half, self.axes, self.base = head_dim // 2, axes, base
        self.reference = None if reference is None else tuple(reference)
        self.jitter = Jitter() if jitter is None else jitter
        more = spatial_dims - axes
        self.rates = nn.Parameter(torch.zeros(more, self.half)) if more else None

    def forward(self, size: Sequence[int], *, like: Tensor) -> tuple[Tensor, Tensor]:
        kind = torch.float64 if like.dtype == torch.float64 else torch.float32
        lines = self._coordinates(size, torch.empty(0, dtype=kind, device=like.device))
        if self.training:
            lines = self.jitter.apply(lines)
        angles: Tensor | float = 0.0
        for axis, (line, rates) in enumerate(zip(lines, self._rates(lines[0]), strict=True)):
            later = [1] * (len(size) - 1 - axis)
            angles = angles + line.view(-1, *later, 1) * rates  # (S_axis, 1, ..., 1, K / 2)
        angles = angles.expand(*size, self.half).reshape(-1, self.half)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)

    def _coordinates(self, size: Sequence[int], like: Tensor) -> list[Tensor]:
        lines = [torch.arange(s, dtype=like.dtype, device=like.device) for s in size]
        if self.reference is None:
            return [2 * pi * (2 * (line + 0.5) / s - 1) for line, s in zip(lines, size, strict=True)]
        return [line / s * r for line, s, r in zip(lines, size, self.reference, strict=True)]

    def _rates(self, like: Tensor) -> Tensor:
        """(n, K / 2), zero where an axis does not turn a pair."""
        count = self.half // self.axes
        steps = torch.arange(count, dtype=like.dtype, device=like.device)
        share = torch.block_diag(*[(self.base ** (-steps / count))[None]] * self.axes)
        share = F.pad(share, (0, self.half - self.axes * count))
        return share if self.rates is None else torch.cat([self.rates.to(like.dtype), share])


class Relate(nn.Module):
    """Tells attention of the places of tokens: a grid (B, *S, C), or Tokens -> Tokens with `relations`.

    `rope` gives the cells' angles; tokens before the grid are not turned. `neighbours`: which channels make a pair
    (`Relations`). `counted`: each token before the grid counts as many times as a volume has slices, as a picture's
    counts once, so that it keeps its weight among the cells, which are as many times more.
    """

    def __init__(self, rope: AxialRope | None = None, *, neighbours: bool = False, counted: bool = False):
        super().__init__()
        self.rope, self.neighbours, self.counted = rope, neighbours, counted

    def forward(self, x: Tensor | Tokens) -> Tokens:
        tokens = as_tokens(x)
        before, more = len(tokens.prefix), tokens.size[:-FLAT]
        relations = Relations(neighbours=self.neighbours)
        if self.rope is not None:
            cos, sin = self.rope(tokens.size, like=tokens.values)
            relations = relations.turned(F.pad(cos, (0, 0, before, 0), value=1.0), F.pad(sin, (0, 0, before, 0)))
        if self.counted and before and more:
            counts = torch.ones_like(tokens.values[:1, :before, 0]) * prod(more)
            relations = relations._replace(bias=F.pad(counts.log(), (0, prod(tokens.size))))
        return tokens._replace(relations=relations)
