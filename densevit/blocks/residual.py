"""The pre-norm residual block that every backbone family is made of, and stochastic depth."""

from collections.abc import Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn

from densevit.blocks.tokens import Tokens


class DropPath(nn.Module):
    """Drop whole samples of a residual branch while training (stochastic depth): (B, *S, C) -> (B, *S, C).

    https://arxiv.org/abs/1603.09382
    """

    def __init__(self, p: float = 0.0):
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"drop_path must be in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.p
        return x * (keep.to(x.dtype) / (1 - self.p))


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)): (B, *S, C) -> (B, *S, C).

    Tokens go through as one sequence (B, T + N, C): then the attention and the network must not ask for a grid.
    """

    def __init__(self, dim: int, attention: nn.Module, ffn: nn.Module, *, drop_path: float = 0.0, eps: float = 1e-6):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = ffn
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        if isinstance(x, Tokens):
            return x._replace(values=self(x.values))
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Linear from 0 to rate over all blocks, split by stage."""
    total = sum(depths)
    rates = [rate * i / max(total - 1, 1) for i in range(total)]
    return [rates[a:b] for a, b in pairwise(accumulate(depths, initial=0))]
