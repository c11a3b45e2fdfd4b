"""CaiT of timm and ours with the same weights."""

from collections.abc import Sequence

from torch import nn

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize


def cait_pair(size: Sequence[int], *, dim: int = 48, depth: int = 4, num_heads: int = 4) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes for images of one size, theirs and ours."""
    shape = dict(depth=depth, num_heads=num_heads)
    theirs = randomize(
        import_peer("timm").models.cait.Cait(img_size=tuple(size), embed_dim=dim, num_classes=10, **shape)
    )
    ours = densevit.create_classifier("cait_xxs24", num_classes=10, dim=dim, image_size=size, **shape)
    return theirs, copy_weights(theirs, ours, source="facebook_cait")
