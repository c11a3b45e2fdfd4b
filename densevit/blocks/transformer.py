"""What transformer backbones are built of beside attention: patch embedding, residual block, feed-forward nets.

What flows is a grid (B, *S, C), channels last.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from math import prod, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.blocks import nd
from densevit.blocks.tokens import Relations, Tokens


class PatchEmbed(nn.Module):
    """Strided convolution, then LayerNorm: (B, *S, C_in) -> (B, *ceil(S / stride), C_out).

    Overlapping (PVT v2, MiT, MViT) when kernel_size > stride; plain (Swin, ViT) when they are equal: then zeros at the
    far ends fill the last patches. `norm=False` leaves the norm out (ViT, MViT). `position` comes after it: it adds
    positions to the grid (ViT, PVT v1), and may make it tokens by putting a class token in front. `relate` comes last:
    it makes tokens that tell attention of their places (`rope.Relate`).
    """

    def __init__(
        self,
        spatial_dims: int,
        in_channels: int,
        dim: int,
        *,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int],
        bias: bool = True,
        norm: bool = True,
        position: nn.Module | None = None,
        relate: nn.Module | None = None,
    ):
        super().__init__()
        kernel, strides = nd.ntuple(kernel_size, spatial_dims), nd.ntuple(stride, spatial_dims)
        self.patch = strides if kernel == strides else None
        padding = 0 if self.patch else tuple(k // 2 for k in kernel)
        self.proj = nd.CONV[spatial_dims](in_channels, dim, kernel, strides, padding, bias=bias)
        self.norm = nn.LayerNorm(dim, eps=1e-5) if norm else nn.Identity()
        self.position = nn.Identity() if position is None else position
        self.relate = nn.Identity() if relate is None else relate

    def forward(self, x: Tensor) -> Tensor | Tokens:
        if self.patch:
            x = nd.pad_to_multiple(x, self.patch)
        return self.relate(self.position(self.norm(nd.to_grid(self.proj(nd.to_image(x))))))


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


class LayerScale(nn.Module):
    """Each channel times a learned factor: (B, *S, C) -> (B, *S, C). https://arxiv.org/abs/2103.17239"""

    def __init__(self, dim: int, initial: float):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


def make_scale(dim: int, initial: float | None) -> nn.Module:
    """LayerScale whose factors begin with that number, or nothing where it is None: (B, *S, C) -> (B, *S, C)."""
    return nn.Identity() if initial is None else LayerScale(dim, initial)


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)): (B, *S, C) -> (B, *S, C).

    Tokens go through as one sequence (B, T + N, C): then the attention and the network must not ask for a grid, and
    the attention is told the relations of the tokens where they have any. `layer_scale` is the first value of a factor
    for each channel of both branches; there are none where it is None.
    """

    def __init__(
        self,
        dim: int,
        attention: nn.Module,
        ffn: nn.Module,
        *,
        drop_path: float = 0.0,
        eps: float = 1e-6,
        layer_scale: float | None = None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = attention
        self.ls1 = make_scale(dim, layer_scale)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = ffn
        self.ls2 = make_scale(dim, layer_scale)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor | Tokens) -> Tensor | Tokens:
        if isinstance(x, Tokens):
            told = {} if x.relations is None else {"relations": x.relations}
            return x._replace(values=self._add(x.values, **told))
        return self._add(x)

    def _add(self, x: Tensor, **told: Relations) -> Tensor:
        x = x + self.drop_path(self.ls1(self.attn(self.norm1(x), **told)))
        return x + self.drop_path(self.ls2(self.mlp(self.norm2(x))))


class Mlp(nn.Module):
    """Linear, GELU, Linear: (B, *S, C) -> (B, *S, C_out), as wide as it came unless `dim_out` says otherwise."""

    def __init__(self, dim: int, *, ratio: float = 4.0, dim_out: int | None = None):
        super().__init__()
        hidden = int(dim * ratio)
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim if dim_out is None else dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGLU(nn.Module):
    """w3(SiLU(w1 x) * w2 x), with w1 and w2 in one layer `w12`: (B, *S, C) -> (B, *S, C).

    https://arxiv.org/abs/2002.05202. With `norm` a LayerNorm comes before w3, as in EVA-02. `ratio` is that of the
    hidden width, which is two thirds of that of an Mlp in a network of as many parameters.
    """

    def __init__(self, dim: int, *, ratio: float = 8 / 3, norm: bool = False, eps: float = 1e-6):
        super().__init__()
        hidden = int(dim * ratio)
        self.w12 = nn.Linear(dim, 2 * hidden)
        self.norm = nn.LayerNorm(hidden, eps=eps) if norm else nn.Identity()
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, dim=-1)
        return self.w3(self.norm(F.silu(gate) * value))


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


def drop_path_rates(rate: float, depths: Sequence[int]) -> list[list[float]]:
    """Linear from 0 to rate over all blocks, split by stage."""
    total = sum(depths)
    rates = [rate * i / max(total - 1, 1) for i in range(total)]
    return [rates[a:b] for a, b in pairwise(accumulate(depths, initial=0))]


def init_vit_weights(module: nn.Module) -> None:
    """Linear: truncated normal 0.02; convolution: normal with variance 2 / fan-out; biases 0. For `module.apply`."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nd.CONVOLUTIONS):
        fan_out = prod(module.kernel_size) * module.out_channels // module.groups
        nn.init.normal_(module.weight, std=sqrt(2 / fan_out))
    if isinstance(module, (nn.Linear, *nd.CONVOLUTIONS)) and module.bias is not None:
        nn.init.zeros_(module.bias)


def init_linear_weights(module: nn.Module) -> None:
    """The same for linear layers alone; convolutions begin as torch's do. For `module.apply`."""
    if isinstance(module, nn.Linear):
        init_vit_weights(module)


def init_conv_weights(module: nn.Module) -> None:
    """Convolutions, transposed ones too: normal with variance 2 / fan-in, as nnU-Net does; biases 0. For `apply`."""
    if isinstance(module, (*nd.CONVOLUTIONS, *nd.UPSAMPLINGS)):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
