"""XCiT against timm: the maps of every block at several sizes, the logits of the classifier."""

import pytest
import torch

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize
from tools.peers.xcit import xcit_pair

pytestmark = pytest.mark.parity


def assert_equal(ours, theirs, *, tolerance=1e-5):
    """No norm bounds the maps: so errors are parts of a map's largest value."""
    errors = [largest_difference(a, b) / b.abs().max().item() for a, b in zip(ours, theirs, strict=True)]
    assert max(errors) <= tolerance


def maps_of(theirs, image):
    """Their own asks for multiples of the patch when it shapes its maps; the network itself does not."""
    x, size = theirs.patch_embed(image)
    x = x + theirs.pos_embed(1, *size).flatten(2).mT
    maps = []
    for block in theirs.blocks:
        x = block(x, *size)
        maps.append(x.mT.unflatten(2, size))
    return maps


@pytest.mark.parametrize("size", [(64, 64), (48, 112), (45, 61), (7, 200)], ids=str)
@pytest.mark.parametrize(("patch_size", "norm_cells"), [(16, True), (8, False)])
def test_all_levels_and_logits_equal_those_of_timm(patch_size, norm_cells, size):
    theirs, ours = xcit_pair(patch_size=patch_size, norm_cells=norm_cells)
    image = picture(*size)
    with torch.inference_mode():
        assert_equal(ours.backbone(image), maps_of(theirs, image))
        assert_equal([ours(image)], [theirs(image)])


def test_in_double_precision_they_are_equal_to_eleven_digits():
    theirs, ours = (model.double() for model in xcit_pair())
    image = picture(75, 93).double()
    with torch.inference_mode():
        assert_equal([ours(image)], [theirs(image)], tolerance=1e-11)


def test_the_smallest_variant_of_timm_has_our_logits():
    theirs = randomize(import_peer("timm").create_model("xcit_nano_12_p16_224"))
    ours = copy_weights(theirs, densevit.create_classifier("xcit_nano_12_p16", num_classes=1000), source="timm_xcit")
    with torch.inference_mode():
        assert_equal([ours(picture(224, 224))], [theirs(picture(224, 224))])
