"""CaiT against timm: the maps of chosen blocks at several sizes, the logits of the classifier."""

import pytest
import torch

import densevit
from tools.peers import import_peer
from tools.peers.cait import cait_pair
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity


def assert_equal(ours, theirs, *, tolerance=1e-5):
    """No norm bounds the maps: so errors are parts of a map's largest value."""
    errors = [largest_difference(a, b) / b.abs().max().item() for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= tolerance


@pytest.mark.parametrize("size", [(64, 64), (48, 112), (32, 208)], ids=str)
def test_all_levels_and_logits_equal_those_of_timm(size):
    theirs, ours = cait_pair(size)
    image = picture(*size)
    with torch.inference_mode():
        assert_equal(
            ours.backbone(image), theirs.forward_intermediates(image, indices=[0, 1, 2, 3], intermediates_only=True)
        )
        assert_equal([ours(image)], [theirs(image)])


def test_in_double_precision_they_are_equal_to_twelve_digits():
    theirs, ours = (model.double() for model in cait_pair((64, 80)))
    image = picture(64, 80).double()
    with torch.inference_mode():
        assert_equal([ours(image)], [theirs(image)], tolerance=1e-12)


def test_the_smallest_variant_of_timm_has_our_logits():
    theirs = randomize(import_peer("timm").create_model("cait_xxs24_224"))
    ours = copy_weights(theirs, densevit.create_classifier("cait_xxs24", num_classes=1000), source="facebook_cait")
    with torch.inference_mode():
        assert_equal([ours(picture(224, 224))], [theirs(picture(224, 224))])
