"""VOLO against timm: the maps of every stage at several sizes, the logits of the classifier."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from tests.parity.test_cait import assert_equal
from tools.peers import import_peer
from tools.peers.common import copy_weights, picture, randomize
from tools.peers.volo import volo_pair

pytestmark = pytest.mark.parity


def padded(image, divisor):
    """(B, C, H, W) with zeros up to multiples."""
    height, width = image.shape[2:]
    return F.pad(image, (0, -width % divisor, 0, -height % divisor))


def maps_of(theirs, image):
    """Their own modules; what does not fill a patch is left out by them, and filled up with zeros here."""
    x = theirs.patch_embed.proj(padded(theirs.patch_embed.conv(image), 4)).permute(0, 2, 3, 1)
    maps = []
    for index, module in enumerate(theirs.network):
        if index == 1:
            x = module(padded(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1))
            table = F.interpolate(theirs.pos_embed.permute(0, 3, 1, 2), size=x.shape[1:3], mode="bicubic")
            x = x + table.permute(0, 2, 3, 1)
        else:
            x = module(x)
            maps.append(x.permute(0, 3, 1, 2))
    return maps


@pytest.mark.parametrize("size", [(64, 64), (48, 112)], ids=str)
def test_all_levels_and_logits_equal_those_of_timm(size):
    theirs, ours = volo_pair(size)
    image = picture(*size)
    with torch.inference_mode():
        assert_equal(ours.backbone(image), theirs.forward_intermediates(image, intermediates_only=True))
        assert_equal([ours(image)], [theirs(image)])


@pytest.mark.parametrize("size", [(40, 72), (45, 61), (7, 100)], ids=str)
def test_sizes_that_timm_refuses_give_what_its_modules_do_with_zeros_around(size):
    theirs, ours = volo_pair((64, 64))
    image = picture(*size)
    with torch.inference_mode():
        assert_equal(ours.backbone(image), maps_of(theirs, image))


def test_in_double_precision_they_are_equal_to_twelve_digits():
    theirs, ours = (model.double() for model in volo_pair((64, 80)))
    image = picture(64, 80).double()
    with torch.inference_mode():
        assert_equal([ours(image)], [theirs(image)], tolerance=1e-12)


def test_the_smallest_variant_of_timm_has_our_logits():
    theirs = randomize(import_peer("timm").create_model("volo_d1_224"))
    ours = copy_weights(theirs, densevit.create_classifier("volo_d1", num_classes=1000), source="sail_volo")
    with torch.inference_mode():
        assert_equal([ours(picture(224, 224))], [theirs(picture(224, 224))])
