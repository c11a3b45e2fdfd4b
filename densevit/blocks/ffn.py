"""Feed-forward networks. Every module maps (B, *S, C) -> (B, *S, C)."""

import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd


class Mlp(nn.Module):
    """Linear, GELU, Linear: (B, *S, C) -> (B, *S, C_out), as wide as it came unless `dim_out` says otherwise."""

    def __init__(self, dim: int, *, ratio: float = 4.0, dim_out: int | None = None):
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim if dim_out is None else dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class MixFFN(nn.Module):
    """Linear, 3 x 3 (x 3) depthwise convolution in place of a position embedding, GELU, Linear: (B, *S, C) -> same.

    `activation_first` adds a ReLU before the convolution, as PVT v2 does beside its pooled attention.
    """

    def __init__(self, spatial_dims: int, dim: int, *, ratio: float = 4.0, activation_first: bool = False):
        super().__init__()
        hidden = int(dim * ratio)
        self.activation_first = activation_first
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = nd.CONV[spatial_dims](hidden, hidden, 3, padding=1, groups=hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc1(x)
        if self.activation_first:
            x = F.relu(x)
        return self.fc2(F.gelu(nd.to_grid(self.dwconv(nd.to_image(x)))))
