"""What learns in DINO: a backbone and a head of its own, whose outputs are compared between views.

Legend: views [(B, C, *size)], V how many, K outputs of the head.
"""

from collections.abc import Sequence
from itertools import groupby, pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from densevit.backbones.base import Backbone, Features
from densevit.backbones.class_heads import ClassHead
from densevit.blocks.transformer import init_linear_weights
from densevit.weights.files import read_checkpoint
from densevit.weights.names import plain_names


class WeightNormLinear(nn.Module):
    """Rows of unit length times a gain each, without bias: (N, C) -> (N, K); the gain stays 1 if `fixed_gain`."""

    def __init__(self, in_features: int, out_features: int, *, fixed_gain: bool):
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(out_features, 1), requires_grad=not fixed_gain)
        self.weight_v = nn.Parameter(nn.Linear(in_features, out_features, bias=False).weight.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight_g * F.normalize(self.weight_v, dim=1))


class DinoHead(ClassHead):
    """Pooled features through an MLP, to unit length, and onto prototypes: Features -> (B, K).

    The MLP has `num_layers` linear layers with GELU between them, and with `batch_norm` a norm before each GELU.
    """

    def __init__(
        self,
        dim: int,
        out_dim: int,
        *,
        hidden_dim: int = 2048,
        bottleneck_dim: int = 256,
        num_layers: int = 3,
        batch_norm: bool = False,
        norm_last_layer: bool = True,
    ):
        super().__init__()
        widths = [dim, *[hidden_dim] * (num_layers - 1), bottleneck_dim]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths[:-1]):
            norm = [nn.BatchNorm1d(after)] if batch_norm else []
            layers += [nn.Linear(before, after), *norm, nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(*widths[-2:]))
        self.mlp.apply(init_linear_weights)
        self.last_layer = WeightNormLinear(bottleneck_dim, out_dim, fixed_gain=norm_last_layer)

    def forward(self, features: Features) -> Tensor:
        return self.project(features.pooled)

    def project(self, pooled: Tensor) -> Tensor:
        """(B, D) -> (B, K)."""
        return self.last_layer(F.normalize(self.mlp(pooled), dim=-1))


class DinoNetwork(nn.Module):
    """A backbone and its head: views -> (V * B, K), view by view. What the head does not read is left out."""

    def __init__(self, backbone: Backbone, head: DinoHead):
        super().__init__()
        self.backbone = backbone
        self.head = head
        head.leave_out(backbone)

    def forward(self, views: Sequence[Tensor]) -> Tensor:
        return self.head.project(self.pool(views))

    def pool(self, views: Sequence[Tensor]) -> Tensor:
        """(V * B, D), view by view: one pass of the backbone for neighbours of one size."""
        groups = [torch.cat(list(same)) for _, same in groupby(views, key=lambda view: view.shape[2:])]
        return torch.cat([self.backbone.features(group).pooled for group in groups])


def load_head(head: DinoHead, path: str | Path) -> None:
    """Give a head the weights of a whole checkpoint of DINO's authors; ValueError where it has none that fit."""
    state, _ = read_checkpoint(path)
    names = {plain: name for plain, name in plain_names(state).items() if plain.startswith("head.")}
    found = {plain.removeprefix("head."): state[name] for plain, name in names.items()}
    own = head.state_dict()
    wrong = [name for name in own if name not in found or found[name].shape != own[name].shape]
    if wrong:
        there = tuple(found[wrong[0]].shape) if wrong[0] in found else "none"
        raise ValueError(
            f"{path} has no head of DINO that fits: head.{wrong[0]} is {tuple(own[wrong[0]].shape)} here and {there} "
            "there; leave head.weights out, or set head.out_dim and the other sizes as they were"
        )
    head.load_state_dict({name: found[name] for name in own})
