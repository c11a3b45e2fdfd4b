"""Self-attention over grids. Every module maps (B, *S, C) -> (B, *S, C).

Dimension key: B batch, N query tokens, M key tokens, C channels, H heads, K channels per head.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd


def split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """(B, N, C) -> (B, H, N, K)"""
    return tokens.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(tokens: Tensor) -> Tensor:
    """(B, H, N, K) -> (B, N, C)"""
    return tokens.transpose(1, 2).flatten(2)


class StridedReduction(nn.Module):
    """Convolution with kernel = stride = `ratio`, then LayerNorm: (B, *S, C) -> (B, *max(S // ratio, 1), C).

    Rows and columns that do not fill a whole patch are left out, as in the reference; a grid smaller than
    one patch is padded with zeros to one patch.
    """

    def __init__(self, spatial_dims: int, dim: int, *, ratio: int):
        super().__init__()
        self.ratio = nd.ntuple(ratio, spatial_dims)
        self.conv = nd.CONV[spatial_dims](dim, dim, self.ratio, stride=self.ratio)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(nd.to_grid(self.conv(nd.to_image(nd.pad_to_at_least(x, self.ratio)))))


class PooledReduction(nn.Module):
    """Average over a fixed number of cells, 1 x 1 convolution, LayerNorm, GELU: (B, *S, C) -> (B, 7, 7(, 7), C)."""

    def __init__(self, spatial_dims: int, dim: int, *, size: int = 7):
        super().__init__()
        self.spatial_dims = spatial_dims
        self.size = nd.ntuple(size, spatial_dims)
        self.conv = nd.CONV[spatial_dims](dim, dim, 1)
        self.norm = nn.LayerNorm(dim, eps=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        pooled = nd.ADAPTIVE_AVG_POOL[self.spatial_dims](nd.to_image(x), self.size)
        return F.gelu(self.norm(nd.to_grid(self.conv(pooled))))


class SpatialReductionAttention(nn.Module):
    """Attention whose keys and values come from a reduced grid (PVT v2, MiT): (B, *S, C) -> (B, *S, C).

    `reduction` maps the grid to a smaller one; None attends to every token.
    """

    def __init__(self, dim: int, *, num_heads: int, reduction: nn.Module | None = None):
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.sr = nn.Identity() if reduction is None else reduction

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q(x).flatten(1, -2), self.num_heads)  # (B, H, N, K)
        k, v = self.kv(self.sr(x)).flatten(1, -2).chunk(2, dim=-1)  # (B, M, C) each
        k, v = split_heads(k, self.num_heads), split_heads(v, self.num_heads)  # (B, H, M, K)
        out = merge_heads(F.scaled_dot_product_attention(q, k, v))  # (B, N, C)
        return self.proj(out).reshape(x.shape)


class SelfAttention(nn.Module):
    """Attention of every token to every token (ViT): (B, *S, C) -> (B, *S, C)."""

    def __init__(self, dim: int, *, num_heads: int, qkv_bias: bool = True):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).flatten(1, -2).chunk(3, dim=-1))
        out = merge_heads(F.scaled_dot_product_attention(q, k, v))  # (B, N, C)
        return self.proj(out).reshape(x.shape)
