"""TimeSformer of transformers and ours with the same weights."""

from torch import Tensor, nn

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, randomize

PUBLISHED = {"divided": "divided_space_time", "joint": "joint_space_time", "space": "space_only"}


def transformers_timesformer(
    *, attention: str = "divided", image_size: int = 224, num_frames: int = 8, num_classes: int = 400, **sizes: int
) -> nn.Module:
    """Their classifier; `sizes` are options of its config, such as hidden_size."""
    transformers = import_peer("transformers")
    config = transformers.TimesformerConfig(
        attention_type=PUBLISHED[attention],
        image_size=image_size,
        num_frames=num_frames,
        num_labels=num_classes,
        **sizes,
    )
    return transformers.TimesformerForVideoClassification(config).eval()


def timesformer_pair(
    attention: str, *, dim: int = 48, depth: int = 4, num_heads: int = 3
) -> tuple[nn.Module, nn.Module]:
    """Classifiers of 10 classes, theirs and ours, for 4 frames of 64 x 64."""
    sizes = dict(hidden_size=dim, num_hidden_layers=depth, num_attention_heads=num_heads, intermediate_size=4 * dim)
    shape = dict(attention=attention, image_size=64, num_frames=4, num_classes=10)
    theirs = randomize(transformers_timesformer(**shape, **sizes))
    shape |= dict(dim=dim, depth=depth, num_heads=num_heads, spatial_dims=3)
    ours = densevit.create_classifier("timesformer_base", **shape)
    return theirs, copy_weights(theirs, ours, source="huggingface_timesformer")


def levels_and_logits(theirs: nn.Module, clip: Tensor, *, patch_size: int = 16) -> tuple[list[Tensor], Tensor]:
    """What each block gives to (B, C, D, H, W), the last one normed, as [(B, C_i, D, h, w)]; and the logits.

    Their blocks count frames and columns by the config, which is told those of the clip first. Space-only attention has
    logits of each frame: their mean is given.
    """
    frames, height, width = clip.shape[2:]
    theirs.config.num_frames, theirs.config.image_size = frames, width
    found = theirs(clip.transpose(1, 2), output_hidden_states=True)
    blocks = [*found.hidden_states[1:-1], theirs.timesformer.layernorm(found.hidden_states[-1])]
    size, of_frames = (height // patch_size, width // patch_size), theirs.config.attention_type == "space_only"
    if of_frames:
        maps = [x[:, 1:].unflatten(0, (-1, frames)).unflatten(2, size) for x in blocks]  # (B, D, h, w, C)
        return [x.movedim(-1, 1) for x in maps], found.logits.unflatten(0, (-1, frames)).mean(1)
    maps = [x[:, 1:].unflatten(1, (*size, frames)) for x in blocks]  # (B, h, w, D, C)
    return [x.permute(0, 4, 3, 1, 2) for x in maps], found.logits
