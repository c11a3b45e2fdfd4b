"""Rates that fall from layer to layer towards the image, as ViTs are fine-tuned. https://arxiv.org/abs/2106.08254"""

from torch import nn

from densevit.backbones.base import Backbone


def layer_factors(model: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """What the rate of each parameter of the backbones within a model is multiplied by; others are left out.

    Blocks are counted through all stages. The last one learns with `decay` times the rate, each one before it with
    `decay` times that of the next, and what makes patches and positions is one step before the first block, as in BEiT.
    What stands between two stages counts with the block before it, as where Swin is fine-tuned
    (https://arxiv.org/abs/2111.09886), and so does a norm at the end of a stage. Norms of what leaves the backbone, and
    its neck, learn as decoders do.
    """
    found: dict[nn.Parameter, float] = {}
    for backbone in (module for module in model.modules() if isinstance(module, Backbone)):
        total, done = sum(len(stage.blocks) for stage in backbone.stages), 0
        for stage in backbone.stages:
            layers = [(done, stage.downsample), *enumerate(stage.blocks, start=done + 1)]
            done += len(stage.blocks)
            for number, part in (*layers, (done, stage.norm)):
                found |= dict.fromkeys(part.parameters(), decay ** (total + 1 - number))
    return found
