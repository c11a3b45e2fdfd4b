"""VOLO of timm and ours with the same weights."""

from collections.abc import Sequence

from torch import nn

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize


def volo_pair(size: Sequence[int], *, dims: Sequence[int] = (24, 48)) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes with a table of positions for images of one size, theirs and ours."""
    depths, heads = (2, 1, 1, 2), (2, 4)
    theirs = import_peer("timm").models.volo.VOLO(
        depths,
        img_size=tuple(size),
        num_classes=10,
        stem_hidden_dim=16,
        embed_dims=[dims[0], *[dims[1]] * 3],
        num_heads=[heads[0], *[heads[1]] * 3],
    )
    options = dict(depths=depths, dims=dims, num_heads=heads, stem_dim=16, image_size=size)
    ours = densevit.create_classifier("volo_d1", num_classes=10, **options)
    return randomize(theirs), copy_weights(randomize(theirs), ours, source="sail_volo")
