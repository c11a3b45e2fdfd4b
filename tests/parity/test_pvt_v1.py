"""PVT v1 against transformers: every block of every variant, with the class token that its classifier has."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from tools.peers.common import copy_weights, largest_difference, picture
from tools.peers.pvt import DEPTHS, maps_of_transformers_pvt, transformers_pvt

pytestmark = pytest.mark.parity


@torch.no_grad()
def resize_tables(theirs, size):
    """Give their model tables for pictures of another size: it misreads its own for any size but that of its config."""
    for embed, stride in zip(theirs.encoder.patch_embeddings, (4, 8, 16, 32), strict=True):
        grid = [s // stride for s in size]
        rows = embed.position_embeddings
        side = int(rows.shape[1] ** 0.5)
        tokens, cells = rows[:, : rows.shape[1] - side**2], rows[:, rows.shape[1] - side**2 :]
        cells = cells.transpose(1, 2).unflatten(2, (side, side))
        cells = F.interpolate(cells, size=grid, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        embed.position_embeddings = torch.nn.Parameter(torch.cat([tokens, cells], dim=1))


def assert_equal_maps(theirs, ours, image, *, tolerance=1e-5):
    """No norm bounds the maps, whose values grow with depth: so errors are parts of a map's largest value."""
    with torch.inference_mode():
        expected, features = maps_of_transformers_pvt(theirs, image), ours(image)
    assert len(features) == len(expected) == 4
    errors = [largest_difference(a, b) / b.abs().max().item() for a, b in zip(features, expected, strict=True)]
    assert max(errors) <= tolerance


@pytest.mark.parametrize("name", DEPTHS)
def test_all_stages_equal_those_of_transformers(name):
    theirs = transformers_pvt(name, image_size=64)
    ours = copy_weights(theirs, densevit.create_backbone(name, image_size=64, class_token=True), source="huggingface")
    assert_equal_maps(theirs, ours, picture(64, 64))
    assert_equal_maps(theirs.double(), ours.double(), picture(64, 64).double(), tolerance=1e-13)


@pytest.mark.parametrize("size", [(224, 224), (96, 160), (64, 32)], ids=str)
def test_tables_for_224_pixels_serve_other_sizes(size):
    theirs = transformers_pvt("pvt_v1_tiny", image_size=224)
    ours = copy_weights(theirs, densevit.create_backbone("pvt_v1_tiny", class_token=True), source="huggingface")
    resize_tables(theirs, size)
    assert_equal_maps(theirs, ours, picture(*size))


@pytest.mark.parametrize("size", [(64, 64), (96, 32)], ids=str)
def test_the_form_for_dense_prediction_is_the_same_without_the_class_token(size):
    """The last stage of transformers, entered after its class token would have come."""
    theirs = transformers_pvt("pvt_v1_tiny", image_size=224)
    ours = densevit.create_backbone("pvt_v1_tiny", class_token=True)
    copy_weights(theirs, ours, source="huggingface")
    state = ours.state_dict()
    table = state["stages.3.downsample.position.pos_embed"]
    state["stages.3.downsample.position.pos_embed"] = table[:, 1:]
    del state["stages.3.downsample.position.tokens.cls_token"]
    dense = densevit.create_backbone("pvt_v1_tiny").eval()
    dense.load_state_dict(state)
    resize_tables(theirs, size)
    embed = theirs.encoder.patch_embeddings[3]
    embed.cls_token, embed.position_embeddings = None, torch.nn.Parameter(embed.position_embeddings[:, 1:])
    assert_equal_maps(theirs, dense, picture(*size))
