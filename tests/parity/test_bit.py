"""BiT beside timm and transformers: maps of every stage and logits, and the sizes of all variants."""

from functools import partial

import pytest
import torch

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity

DEPTHS = (1, 2, 1, 1)


def of_timm():
    timm = import_peer("timm")
    conv = partial(timm.layers.StdConv2d, eps=1e-8)
    options = dict(channels=(128, 256, 512, 1024), stem_chs=32, stem_type="fixed", num_classes=7)
    return randomize(timm.models.resnetv2.ResNetV2(DEPTHS, conv_layer=conv, **options))


def of_transformers():
    transformers = import_peer("transformers")
    widths = dict(embedding_size=32, hidden_sizes=[128, 256, 512, 1024])
    config = transformers.BitConfig(depths=list(DEPTHS), num_labels=7, **widths)
    return randomize(transformers.BitForImageClassification(config))


def maps_of_timm(theirs, image):
    return theirs.forward_intermediates(image, norm=True, intermediates_only=True)[1:]


def maps_of_transformers(theirs, image):
    found = theirs.bit(image, output_hidden_states=True)
    return [*found.hidden_states[1:-1], found.last_hidden_state]


@pytest.mark.parametrize(
    ("source", "make", "maps", "size"),
    [
        ("timm_bit", of_timm, maps_of_timm, (96, 128)),
        ("timm_bit", of_timm, maps_of_timm, (75, 93)),
        ("huggingface_bit", of_transformers, maps_of_transformers, (62, 101)),
    ],
)
def test_maps_and_logits_are_those_of(source, make, maps, size):
    theirs = make()
    ours = densevit.create_classifier("bit_r50x1", num_classes=7, dim=32, depths=DEPTHS)
    copy_weights(theirs, ours, source=source)
    for dtype, tolerance in ((torch.float, 1e-5), (torch.double, 1e-10)):
        theirs, ours, image = theirs.to(dtype), ours.to(dtype), picture(*size).to(dtype)
        with torch.inference_mode():
            logits = getattr(theirs(image), "logits", None) if source == "huggingface_bit" else theirs(image)
            expected = [*maps(theirs, image), logits]
            for a, b in zip([*ours.backbone(image), ours(image)], expected, strict=True):
                assert largest_difference(a, b) <= tolerance * b.abs().max()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("bit_r50x1", 25_549_352),
        ("bit_r50x3", 217_319_080),
        ("bit_r101x1", 44_541_480),
        ("bit_r101x3", 387_934_888),
        ("bit_r152x2", 236_335_208),
        ("bit_r152x4", 936_533_224),
    ],
)
def test_the_sizes_are_those_of_timm(name, number):
    with torch.device("meta"):
        ours = densevit.create_classifier(name, num_classes=1000)
    assert sum(p.numel() for p in ours.parameters()) == number


def test_a_width_that_the_groups_do_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"^dim must be a multiple of num_groups, got 48 and 32$"):
        densevit.create_backbone("bit_r50x1", dim=48)
