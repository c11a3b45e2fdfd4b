"""Attention of a class token alone to itself and the cells of a grid. https://arxiv.org/abs/2103.17239

Dimension key: B batch, N cells, C channels, H heads, K channels per head. Sequences begin with the class token.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densevit.blocks.attention import Attend, Places, everywhere, merge_heads, split_heads
from densevit.blocks.transformer import Mlp, make_scale


class ClassAttention(nn.Module):
    """What the class token takes from all tokens: (B, 1 + N, C) -> (B, 1, C)."""

    def __init__(self, dim: int, *, num_heads: int, qkv_bias: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim, bias=qkv_bias)
        self.kv = nn.Linear(dim, 2 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)
        self.attend = Attend()

    def forward(self, tokens: Tensor) -> Tensor:
        q = split_heads(self.q(tokens[:, :1]), self.num_heads)  # (B, H, 1, K)
        k, v = (split_heads(t, self.num_heads) for t in self.kv(tokens).chunk(2, dim=-1))  # (B, H, 1 + N, K)
        return self.proj(merge_heads(self.attend(q, k, v)))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """The class token among itself and the cells."""
        return [Places(torch.tensor([[0]]), torch.arange(1 + everywhere(size).keys.numel())[None], *[tuple(size)] * 2)]


class ClassBlock(nn.Module):
    """Attention and a feed-forward net that change the class token alone: (B, 1 + N, C) -> (B, 1 + N, C).

    Cells stay as they are (CaiT, VOLO). `layer_scale` is that of `Block`.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        ratio: float = 4.0,
        qkv_bias: bool = True,
        layer_scale: float | None = None,
        eps: float = 1e-6,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = ClassAttention(dim, num_heads=num_heads, qkv_bias=qkv_bias)
        self.ls1 = make_scale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim, ratio=ratio)
        self.ls2 = make_scale(dim, layer_scale)

    def forward(self, tokens: Tensor) -> Tensor:
        token = tokens[:, :1] + self.ls1(self.attn(self.norm1(tokens)))
        token = token + self.ls2(self.mlp(self.norm2(token)))
        return torch.cat([token, tokens[:, 1:]], dim=1)
