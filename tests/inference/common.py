"""Small networks and images of any rank for the inference tests."""

import torch
from torch import nn

from densevit.blocks import nd


def make_network(spatial_dims, *, in_channels=2, classes=5, seed=0):
    """A 3x3 convolution: what it says near a window's edge depends on the window."""
    generator = torch.Generator().manual_seed(seed)
    network = nd.CONV[spatial_dims](in_channels, classes, 3, padding=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return network.requires_grad_(False)


def make_image(size, *, channels=2, seed=0):
    return torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed))


class Recorder(nn.Module):
    """A network that remembers the shapes it was called with: (B, C, *S) -> (B, K, *S)."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        self.shapes = []

    def forward(self, x):
        self.shapes.append(tuple(x.shape))
        return self.network(x)
