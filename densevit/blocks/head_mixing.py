"""Attention whose heads are mixed: each of its maps is a linear map of those of all heads (CaiT, DeepViT).

The maps must exist for that, so no fused kernel of attention serves. On a CPU they are made for a strip of queries at a
time, which stays in the cache, and are never all in memory.

Dimension key: B batch, H heads, N queries, M keys, K channels per head, V channels of values.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from densevit.blocks.traced import is_plain_cpu

STRIP = 128  # queries at most


def mix_heads(maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Maps (B, H, N, M) of heads -> (B, H, N, M), each a sum of theirs by a row of `weight` (H, H), plus its bias."""
    mixed = torch.baddbmm(bias[:, None], weight.expand(len(maps), -1, -1), maps.flatten(2))
    return mixed.view(maps.shape)


def in_strips(attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """What `attend` makes of q (B, H, N, K), k (B, H, M, K) and v (B, H, M, V), query by query: (B, H, N, V)."""
    if not is_plain_cpu(q):
        return attend(q, k, v)
    return torch.cat([attend(strip, k, v) for strip in q.chunk(-(-q.shape[2] // STRIP), dim=2)], dim=2)
