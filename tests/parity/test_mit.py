"""MiT against transformers: the maps of all four stages, at sizes that do not divide by the strides too."""

import pytest
import torch

import densevit
from tools.peers.common import (
    SEGFORMERS,
    copy_weights,
    largest_difference,
    picture,
    randomize,
    transformers_segformer,
)

pytestmark = pytest.mark.parity

SIZES = [(96, 160), (75, 93)]


@pytest.fixture(scope="module", params=SEGFORMERS)
def pair(request):
    """Their encoder and ours with the same random weights."""
    theirs = randomize(transformers_segformer(request.param, num_classes=2).segformer)
    return theirs, copy_weights(theirs, densevit.create_backbone(request.param), source="huggingface")


def largest_differences(theirs, ours, image):
    with torch.inference_mode():
        expected = theirs(image, output_hidden_states=True).hidden_states
        features = ours(image)
    assert len(features) == len(expected) == 4
    return [largest_difference(a, b) for a, b in zip(features, expected, strict=True)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_stages_equal_those_of_transformers(pair, size):
    assert max(largest_differences(*pair, picture(*size))) <= 1e-5


def test_in_double_precision_all_stages_are_equal_to_ten_digits(pair):
    theirs, ours = (model.double() for model in pair)
    try:
        assert max(largest_differences(theirs, ours, picture(45, 61).double())) <= 1e-10
    finally:
        theirs.float(), ours.float()
