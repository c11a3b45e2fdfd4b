"""What the parity tests of plain ViTs share."""

from pathlib import Path

import torch

from densevit.weights import load_weights
from tools.peers.common import largest_difference


def take_weights(ours, theirs, *, source):
    """Fill our model, a backbone or a classifier, from theirs; nothing may be left over."""
    report = load_weights(ours, Path("theirs"), source=source, state=theirs.state_dict())
    assert report.complete
    return ours.eval()


def assert_equal_maps(found, expected, *, tolerance=1e-5):
    """Errors are parts of a map's largest value."""
    assert len(found) == len(expected)
    errors = [largest_difference(a, b) / b.abs().max().item() for a, b in zip(found, expected, strict=True)]
    assert max(errors) <= tolerance


def timm_levels(theirs, image, blocks):
    """(map, tokens before the grid) of these blocks, through the final norm."""
    return theirs.forward_intermediates(
        image, indices=list(blocks), norm=True, intermediates_only=True, return_prefix_tokens=True
    )


def assert_levels_are_those_of_timm(ours, theirs, image, *, tolerance=1e-5):
    """Every fourth of the depth, made with norm="all": maps, and the tokens before the grid."""
    with torch.inference_mode():
        found = ours.features(image)
        depth = len(theirs.blocks)
        expected = timm_levels(theirs, image, [(i + 1) * depth // 4 - 1 for i in range(4)])
    assert_equal_maps(found.maps, [maps for maps, _ in expected], tolerance=tolerance)
    before = [level.values[:, : len(level.prefix)] for level in found.levels]
    assert_equal_maps(before, [tokens for _, tokens in expected], tolerance=tolerance)


def huggingface_maps(states, size, *, num_tokens):
    """Sequences (B, T + N, C) as images (B, C, *size)."""
    return [state[:, num_tokens:].mT.unflatten(2, size) for state in states]
