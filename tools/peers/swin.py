"""Swin of transformers beside ours, with the same weights."""

from functools import cache

import densevit
from densevit.backbones.swin import VARIANTS
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize


def huggingface_config(name, **options):
    depths, dim = VARIANTS[name]["depths"], VARIANTS[name]["dim"]
    heads = [dim // 32 * 2**i for i in range(4)]
    levels = [f"stage{i}" for i in (1, 2, 3, 4)]
    transformers = import_peer("transformers")
    return transformers.SwinConfig(embed_dim=dim, depths=list(depths), num_heads=heads, out_features=levels, **options)


@cache
def huggingface_pair(name, window):
    """The backbone of transformers and ours, with the same random weights."""
    theirs = import_peer("transformers").SwinBackbone(huggingface_config(name, window_size=window))
    ours = densevit.create_backbone(name, window_size=window)
    return randomize(theirs), copy_weights(theirs, ours, source="huggingface")
