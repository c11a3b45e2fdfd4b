"""MLP-Mixer and ConvMixer of timm and ours with the same weights."""

from torch import nn

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize


def mixer_pair(image_size: int | tuple[int, int] = 64, *, dim: int = 48, depth: int = 4) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes, theirs and ours."""
    shape = dict(patch_size=16, num_classes=10)
    mixer = import_peer("timm").models.mlp_mixer.MlpMixer
    theirs = randomize(mixer(img_size=image_size, embed_dim=dim, num_blocks=depth, **shape))
    options = dict(dim=dim, depth=depth, image_size=image_size, **shape)
    return theirs, copy_weights(theirs, densevit.create_classifier("mixer_small_p16", **options), source="timm_mixer")


def convmixer_pair(activation: str, *, dim: int = 24, depth: int = 4, **shape: int) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes, theirs and ours."""
    act = dict(gelu=nn.GELU, relu=nn.ReLU)[activation]
    shape |= dict(dim=dim, depth=depth, num_classes=10)
    theirs = randomize(import_peer("timm").models.convmixer.ConvMixer(act_layer=act, **shape))
    ours = densevit.create_classifier("convmixer_1536_20", activation=activation, taps=range(depth), **shape)
    return theirs.eval(), copy_weights(theirs, ours, source="timm_convmixer")
