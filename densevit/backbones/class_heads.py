"""Heads that classify a whole image from what its backbone gives: Features -> logits (B, num_classes).

Dimension key: B batch, N tokens of the last level's grid, C its channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.blocks.attention import Attend, merge_heads, split_heads
from densevit.blocks.transformer import Mlp, init_linear_weights


class ClassHead(nn.Module):
    """What every head is: Features -> logits (B, num_classes). Its last layer, whose rows are the classes, is `fc`."""

    blocks: Sequence[int] | None = None  # whose outputs it reads, counted through all stages; None: the ends of stages
    norm = True  # whether these have passed the norms that levels pass
    reads_tokens = True  # False: the grid alone, for which a class token need not be made

    def forward(self, features: Features) -> Tensor:
        raise NotImplementedError

    def leave_out(self, backbone: Backbone) -> None:
        """Take out of the backbone what the head does not read: norms of the finer levels, where it reads the last."""
        if self.blocks is None:
            *finer, last = backbone.out_norms
            backbone.out_norms = nn.ModuleList([*(nn.Identity() for _ in finer), last])


class PooledHead(ClassHead):
    """A linear layer on the class token, or on the mean of the grid where there is none.

    `eps` is that of a LayerNorm before it, which only classification has (PVT v1); None: no such norm.
    """

    def __init__(self, dim: int, num_classes: int, *, eps: float | None = None):
        super().__init__()
        self.pool_norm = nn.Identity() if eps is None else nn.LayerNorm(dim, eps=eps)
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return self.fc(self.pool_norm(features.pooled))


class MeanHead(ClassHead):
    """A linear layer on the mean of the grid, whatever tokens stand before it; `eps` is as in `PooledHead`."""

    reads_tokens = False

    def __init__(self, dim: int, num_classes: int, *, eps: float | None = None):
        super().__init__()
        self.pool_norm = nn.Identity() if eps is None else nn.LayerNorm(dim, eps=eps)
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return self.fc(self.pool_norm(features.mean))


class DistilledHead(ClassHead):
    """DeiT's pair of linear layers, on the class token and on the distillation token: the mean of their logits.

    A loss that distils compares the second logits of `pair` with a teacher's. https://arxiv.org/abs/2012.12877
    """

    def __init__(self, dim: int, num_classes: int):
        super().__init__()
        self.fc = nn.Linear(dim, num_classes)
        self.fc_dist = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        return torch.stack(self.pair(features)).mean(0)

    def pair(self, features: Features) -> tuple[Tensor, Tensor]:
        """Logits (B, num_classes) of the class token, and of the distillation token."""
        return self.fc(features.class_token), self.fc_dist(features.distillation_token)


class MapHead(ClassHead):
    """Attention pooling (MAP): one learned query attends to all tokens of the grid, then an Mlp, then a linear layer.

    It is the head of big_vision's ViTs and of SigLIP. Heads have at least 64 channels unless `num_heads` is given; it
    must divide the channels. https://arxiv.org/abs/2106.04560
    """

    reads_tokens = False

    def __init__(self, dim: int, num_classes: int, *, num_heads: int | None = None, eps: float = 1e-6):
        super().__init__()
        if num_heads is None:
            num_heads = next(heads for heads in range(max(dim // 64, 1), 0, -1) if dim % heads == 0)
        if dim % num_heads:
            raise ValueError(f"num_heads must divide the {dim} channels of the backbone's last level, got {num_heads}")
        self.num_heads = num_heads
        self.probe = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, dim), std=dim**-0.5))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.attend = Attend()
        self.proj = nn.Linear(dim, dim)
        self.norm_mlp = nn.LayerNorm(dim, eps=eps)
        self.mlp = Mlp(dim)
        self.fc = nn.Linear(dim, num_classes)
        self.apply(init_linear_weights)

    def forward(self, features: Features) -> Tensor:
        tokens = features.levels[-1].grid.flatten(1, -2)  # (B, N, C)
        q = self.q(self.probe).expand(len(tokens), -1, -1)  # (B, 1, C)
        q, k, v = (split_heads(t, self.num_heads) for t in (q, *self.kv(tokens).chunk(2, dim=-1)))
        x = self.proj(merge_heads(self.attend(q, k, v)))  # (B, 1, C)
        x = x + self.mlp(self.norm_mlp(x))
        return self.fc(x[:, 0])


HEADS: dict[str, type[ClassHead]] = dict(pooled=PooledHead, mean=MeanHead, map=MapHead)  # that any backbone takes
