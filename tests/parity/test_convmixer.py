"""ConvMixer against timm: the maps of every block at several sizes, the logits of the classifier."""

import pytest
import torch
from torch import nn

import densevit
from tests.parity.test_cait import assert_equal
from tools.peers import import_peer
from tools.peers.common import copy_weights, picture, randomize
from tools.peers.mixers import convmixer_pair

pytestmark = pytest.mark.parity


def maps_of(theirs, image):
    x, maps = theirs.stem(image), []
    for block in theirs.blocks:
        x = block(x)
        maps.append(x)
    return maps


@pytest.mark.parametrize("size", [(56, 56), (42, 91), (45, 66)], ids=str)
@pytest.mark.parametrize(
    ("activation", "shape"),
    [("gelu", dict(kernel_size=9, patch_size=7)), ("relu", dict(kernel_size=7, patch_size=14))],
    ids=["gelu", "relu"],
)
def test_all_levels_and_logits_equal_those_of_timm_which_drops_what_fills_no_patch(activation, shape, size):
    theirs, ours = convmixer_pair(activation, **shape)
    padded = [-s % shape["patch_size"] for s in size]
    image = picture(*size)
    filled = nn.functional.pad(image, [0, padded[1], 0, padded[0]])
    with torch.inference_mode():
        assert_equal(ours.backbone(image), maps_of(theirs, filled))
        assert_equal([ours(image)], [theirs(filled)])


def test_in_double_precision_they_are_equal_to_twelve_digits():
    theirs, ours = (model.double() for model in convmixer_pair("gelu"))
    image = picture(63, 77).double()
    with torch.inference_mode():
        assert_equal([ours(image)], [theirs(image)], tolerance=1e-12)


def test_the_smallest_variant_of_timm_has_our_logits_with_relu_as_released():
    theirs = randomize(import_peer("timm").create_model("convmixer_768_32")).eval()
    ours = copy_weights(
        theirs, densevit.create_classifier("convmixer_768_32", num_classes=1000), source="timm_convmixer"
    )
    with torch.inference_mode():
        assert_equal([ours(picture(56, 56))], [theirs(picture(56, 56))])
