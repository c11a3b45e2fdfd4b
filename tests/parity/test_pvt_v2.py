"""PVT v2 against timm: the maps of all four stages of every variant."""

import pytest
import torch

import densevit
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity

SIZES = [(96, 160), (75, 93)]


@pytest.fixture(scope="module", params=[f"pvt_v2_{kind}" for kind in ("b0", "b1", "b2", "b2_li", "b3", "b4", "b5")])
def pair(request):
    """Their features and ours with the same random weights."""
    timm = import_peer("timm")
    theirs = randomize(timm.create_model(request.param, features_only=True))
    return theirs, copy_weights(theirs, densevit.create_backbone(request.param), source="timm")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_stages_equal_those_of_timm(pair, size):
    theirs, ours = pair
    with torch.inference_mode():
        expected, features = theirs(picture(*size)), ours(picture(*size))
    assert len(features) == len(expected) == 4
    assert max(largest_difference(a, b) for a, b in zip(features, expected, strict=True)) <= 1e-5


def test_in_double_precision_all_stages_are_equal_to_ten_digits(pair):
    theirs, ours = (model.double() for model in pair)
    image = picture(45, 61).double()
    try:
        with torch.inference_mode():
            differences = [largest_difference(a, b) for a, b in zip(ours(image), theirs(image), strict=True)]
        assert max(differences) <= 1e-10
    finally:
        theirs.float(), ours.float()
