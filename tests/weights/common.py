"""What the tests of weights share: models of random weights, and their state dicts under the releases' names."""

import torch

import densevit
from densevit.weights import to_theirs
from tools.peers.common import randomize


def segformer(*, num_classes=19, seed=0, **options):
    return randomize(densevit.create_segmentor("mit_b0", "all_mlp", num_classes=num_classes, **options), seed=seed)


def backbone(name="mit_b0", *, seed=0, **options):
    return randomize(densevit.create_backbone(name, **options), seed=seed)


def release(model, source):
    """A release's state dict of a model, with the tensors that releases have beside and we do not."""
    state = to_theirs(model.state_dict(), source)
    whole = any(name.startswith("decode_head.") for name in state)
    beside = {
        ("nvlabs", True): ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias"),
        ("nvlabs", False): ("head.weight", "head.bias"),
        ("whai362_pvt_v2", False): ("head.weight", "head.bias"),
        ("timm_pvt_v2", False): ("head.weight", "head.bias"),
        ("huggingface_segformer", False): ("classifier.weight", "classifier.bias"),
        ("mmseg_segformer", True): ("auxiliary_head.conv_seg.weight",),
    }
    return state | {name: torch.zeros(3) for name in beside.get((source, whole), ())}


def equal(a, b):
    """Whether two models (or state dicts) hold the same names and bits."""
    a, b = (x if isinstance(x, dict) else x.state_dict() for x in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def snapshot(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
