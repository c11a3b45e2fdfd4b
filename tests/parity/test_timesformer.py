"""TimeSformer against transformers: all blocks and logits of the three forms of attention, clips of several sizes."""

import pytest
import torch

from tools.peers.common import largest_difference, picture
from tools.peers.timesformer import PUBLISHED, levels_and_logits, timesformer_pair

pytestmark = pytest.mark.parity

# Tables are made for 4 frames of 64 x 64, and take other sizes, also odd numbers of frames and cells.
SIZES = [(4, 64, 64), (3, 48, 80), (7, 112, 48)]


def errors(ours, theirs, clip):
    """Of all levels and of the logits, as parts of the largest value."""
    levels, logits = levels_and_logits(theirs, clip)
    pairs = [*zip(ours.backbone(clip), levels, strict=True), (ours(clip), logits)]
    return [largest_difference(a, b) / b.abs().max().item() for a, b in pairs]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("attention", PUBLISHED)
def test_all_levels_and_logits_equal_those_of_transformers(attention, size):
    theirs, ours = timesformer_pair(attention)
    with torch.inference_mode():
        assert max(errors(ours, theirs, torch.cat([picture(*size), picture(*size, seed=1)]))) <= 1e-5


@pytest.mark.parametrize("attention", PUBLISHED)
def test_in_double_precision_they_are_equal_to_twelve_digits(attention):
    theirs, ours = (model.double() for model in timesformer_pair(attention))
    with torch.inference_mode():
        assert max(errors(ours, theirs, picture(5, 64, 96).double())) <= 1e-12
