"""PVT v1 of transformers, and its maps."""

import torch

from tools.peers import import_peer
from tools.peers.common import randomize

DEPTHS = {
    "pvt_v1_tiny": [2, 2, 2, 2],
    "pvt_v1_small": [3, 4, 6, 3],
    "pvt_v1_medium": [3, 4, 18, 3],
    "pvt_v1_large": [3, 8, 27, 3],
}


def transformers_pvt(name, *, image_size):
    """Their model with the eps of the release: 1e-6 in the blocks and 1e-5 elsewhere, where transformers has one."""
    transformers = import_peer("transformers")
    model = transformers.PvtModel(transformers.PvtConfig(depths=DEPTHS[name], image_size=image_size))
    for path in dict(model.named_modules()):
        if path.endswith(("sequence_reduction", "projection")):
            model.get_submodule(path.rpartition(".")[0]).layer_norm.eps = 1e-5
    return randomize(model)


def maps_of_transformers_pvt(theirs, image):
    """The outputs of the last blocks of their stages, without the class token."""
    states = theirs(image, output_hidden_states=True).hidden_states
    ends = torch.tensor(theirs.config.depths).cumsum(0) - 1
    sizes = [[s // stride for s in image.shape[2:]] for stride in (4, 8, 16, 32)]
    maps = [states[end][:, -h * w :] for end, (h, w) in zip(ends, sizes, strict=True)]
    return [m.transpose(1, 2).unflatten(2, size) for m, size in zip(maps, sizes, strict=True)]
