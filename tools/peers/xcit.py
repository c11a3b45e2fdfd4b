"""XCiT of timm and ours with the same weights."""

from collections.abc import Sequence

from torch import nn

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize


def xcit_pair(
    *,
    patch_size: int = 16,
    norm_cells: bool = True,
    dim: int = 48,
    depth: int = 4,
    taps: Sequence[int] = (0, 1, 2, 3),
) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes, theirs and ours; `taps` are the blocks whose outputs are our levels."""
    shape = dict(patch_size=patch_size, depth=depth, num_heads=4)
    xcit = import_peer("timm").models.xcit.Xcit
    theirs = randomize(xcit(embed_dim=dim, num_classes=10, tokens_norm=norm_cells, **shape))
    options = dict(dim=dim, norm_cells=norm_cells, taps=taps, **shape)
    ours = densevit.create_classifier("xcit_nano_12_p16", num_classes=10, **options)
    return theirs, copy_weights(theirs, ours, source="timm_xcit")
