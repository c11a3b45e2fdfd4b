"""MLP-Mixer against timm: the maps of every block at the sizes it takes, the logits of the classifier."""

import pytest
import torch

import densevit
from tests.parity.test_cait import assert_equal
from tools.peers import import_peer
from tools.peers.common import copy_weights, picture, randomize
from tools.peers.mixers import mixer_pair

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("size", [(64, 64), (48, 112), (16, 208)], ids=str)
def test_all_levels_and_logits_equal_those_of_timm(size):
    theirs, ours = mixer_pair(size)
    image = picture(*size)
    with torch.inference_mode():
        maps = theirs.forward_intermediates(image, indices=[0, 1, 2, 3], intermediates_only=True)
        maps[-1] = theirs.norm(maps[-1].movedim(1, -1)).movedim(-1, 1)
        assert_equal(ours.backbone(image), maps)
        assert_equal([ours(image)], [theirs(image)])


def test_in_double_precision_they_are_equal_to_twelve_digits():
    theirs, ours = (model.double() for model in mixer_pair((64, 80)))
    image = picture(64, 80).double()
    with torch.inference_mode():
        assert_equal([ours(image)], [theirs(image)], tolerance=1e-12)


def test_the_smallest_variant_of_timm_has_our_logits():
    theirs = randomize(import_peer("timm").create_model("mixer_s32_224"))
    ours = copy_weights(theirs, densevit.create_classifier("mixer_small_p32", num_classes=1000), source="timm_mixer")
    with torch.inference_mode():
        assert_equal([ours(picture(224, 224))], [theirs(picture(224, 224))])
