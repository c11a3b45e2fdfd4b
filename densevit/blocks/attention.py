"""Self-attention over grids. Every module maps (B, *S, C) -> (B, *S, C).

Dimension key: B batch, N query tokens, M key tokens, C channels, H heads, K channels per head.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.tokens import Relations


class Places(NamedTuple):
    """Which tokens meet in a call of attention: the numbers of the queries (W, N) and of the keys (W, M), window by
    window, in grids of these sizes; tokens before the grid come first. -1 is what fills up a window."""

    queries: Tensor
    keys: Tensor
    query_size: tuple[int, ...]
    key_size: tuple[int, ...]


def everywhere(size: Sequence[int], key_size: Sequence[int] | None = None, *, num_prefix: int = 0) -> Places:
    """All tokens of a grid, and those before it, among those of the grid of the keys: one window."""
    sizes = [tuple(size), tuple(size if key_size is None else key_size)]
    queries, keys = (torch.arange(num_prefix + prod(each))[None] for each in sizes)
    return Places(queries, keys, *sizes)


class Attend(nn.Module):
    """Attention itself, without a weight of its own: q (B, H, N, K), k (B, H, M, K), v (B, H, M, V) -> (B, H, N, V).

    Every module that attends has one, by which `record_attention` sees what it computes; what stands around it may say
    by `places(size, prefix)` (a grid's size and the names of the tokens before it) which tokens meet in each of its
    calls. A form of attention with weights of another kind derives from it, and gives them in `weights`.
    """

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    def weights(self, q: Tensor, k: Tensor, *, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
        """(B, H, N, M): how much each query takes of each key's value; a row sums to 1."""
        logits = (q * (q.shape[-1] ** -0.5 if scale is None else scale)) @ k.mT
        if mask is not None:
            logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
        return logits.softmax(dim=-1)


class AttendToItself(Attend):
    """Each token keeps its own value: the weights are 1 between a token and itself, and 0 between others."""

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, *, mask: Tensor | None = None, scale: float | None = None
    ) -> Tensor:
        return v

    def weights(self, q: Tensor, k: Tensor, *, mask: Tensor | None = None, scale: float | None = None) -> Tensor:
        return torch.eye(k.shape[-2], dtype=q.dtype, device=q.device).expand(*q.shape[:-1], -1)


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
        self.attend = Attend()

    def forward(self, x: Tensor) -> Tensor:
        q = split_heads(self.q(x).flatten(1, -2), self.num_heads)  # (B, H, N, K)
        k, v = self.kv(self.sr(x)).flatten(1, -2).chunk(2, dim=-1)  # (B, M, C) each
        k, v = split_heads(k, self.num_heads), split_heads(v, self.num_heads)  # (B, H, M, K)
        out = merge_heads(self.attend(q, k, v))  # (B, N, C)
        return self.proj(out).reshape(x.shape)

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """Every token among those of the reduced grid."""
        reduced = self.sr(self.q.weight.new_zeros(1, *size, self.q.in_features))
        return [everywhere(size, reduced.shape[1:-1])]


QKV_BIASES = (True, False, "qv")


class SelfAttention(nn.Module):
    """Attention of every token to every token (ViT): (B, *S, C) -> (B, *S, C).

    `qkv_bias="qv"` gives queries and values a bias and keys none (BEiT, EVA-02, DINOv3). `qk_norm` norms each head's
    queries and keys (https://arxiv.org/abs/2302.05442), `inner_norm` what the heads give (EVA-02-CLIP, Primus V3).
    `attend` is a form of attention that takes the place of the usual one (CaiT, DeepViT).
    """

    def __init__(
        self,
        dim: int,
        *,
        num_heads: int,
        qkv_bias: bool | str = True,
        qk_norm: bool = False,
        inner_norm: bool = False,
        eps: float = 1e-6,
        attend: Attend | None = None,
    ):
        super().__init__()
        if qkv_bias not in QKV_BIASES:
            raise ValueError(f"qkv_bias must be True, False or 'qv', got {qkv_bias!r}")
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim, bias=qkv_bias is True)
        self.qv_bias = nn.Parameter(torch.zeros(2 * dim)) if qkv_bias == "qv" else None
        self.q_norm = nn.LayerNorm(dim // num_heads, eps=eps) if qk_norm else nn.Identity()
        self.k_norm = nn.LayerNorm(dim // num_heads, eps=eps) if qk_norm else nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=eps) if inner_norm else nn.Identity()
        self.proj = nn.Linear(dim, dim)
        self.attend = Attend() if attend is None else attend

    def forward(self, x: Tensor, relations: Relations | None = None) -> Tensor:
        return self.proj(self.mix(x, relations)).reshape(x.shape)

    def mix(self, x: Tensor, relations: Relations | None = None) -> Tensor:
        """What the heads give, side by side, before the last layer: (B, *S, C) -> (B, N, C)."""
        q, k, v = (split_heads(t, self.num_heads) for t in self._project(x).flatten(1, -2).chunk(3, dim=-1))
        q, k, told = self.q_norm(q), self.k_norm(k), {}
        if relations is not None:
            q, k = turn(q, relations), turn(k, relations)
            told = dict(mask=relations.bias)
        return self.norm(merge_heads(self.attend(q, k, v, **told)))

    def _project(self, x: Tensor) -> Tensor:
        """(B, *S, C) -> (B, *S, 3 C)"""
        if self.qv_bias is None:
            return self.qkv(x)
        q, v = self.qv_bias.chunk(2)
        return F.linear(x, self.qkv.weight, torch.cat([q, torch.zeros_like(q), v]))

    def places(self, size: Sequence[int], prefix: Sequence[str] = ()) -> list[Places]:
        """Every token among all."""
        return [everywhere(size, num_prefix=len(prefix))]


def turn(heads: Tensor, relations: Relations) -> Tensor:
    """Queries or keys (B, H, N, K), two channels at a time turned by their angle; as they are where there is none."""
    if relations.cos is None or relations.sin is None:
        return heads
    if relations.neighbours:
        others = heads.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    else:
        others = torch.cat(heads.chunk(2, dim=-1)[::-1], dim=-1)
    return torch.addcmul(heads * relations.cos, others, relations.sin).type_as(heads)
