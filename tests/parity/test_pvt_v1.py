"""PVT v1 against transformers: every block of every variant, with the class token that its classifier has."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from tests.parity.common import copy_weights, largest_difference, picture, randomize
from tests.peers import import_peer

pytestmark = pytest.mark.parity

DEPTHS = {
    "pvt_v1_tiny": [2, 2, 2, 2],
    "pvt_v1_small": [3, 4, 6, 3],
    "pvt_v1_medium": [3, 4, 18, 3],
    "pvt_v1_large": [3, 8, 27, 3],
}


def transformers_pvt(name, *, image_size):
    """Their model with the eps of the release: 1e-6 in the blocks and 1e-5 elsewhere, where transformers has one."""
    transformers = import_peer("transformers")
    model = transformers.PvtModel(transformers.PvtConfig(depths=DEPTHS[name], image_size=image_size))
    for path in dict(model.named_modules()):
        if path.endswith(("sequence_reduction", "projection")):
            model.get_submodule(path.rpartition(".")[0]).layer_norm.eps = 1e-5
    return randomize(model)


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


def their_maps(theirs, image):
    """The outputs of the last blocks of their stages, without the class token."""
    states = theirs(image, output_hidden_states=True).hidden_states
    ends = torch.tensor(theirs.config.depths).cumsum(0) - 1
    sizes = [[s // stride for s in image.shape[2:]] for stride in (4, 8, 16, 32)]
    maps = [states[end][:, -h * w :] for end, (h, w) in zip(ends, sizes, strict=True)]
    return [m.transpose(1, 2).unflatten(2, size) for m, size in zip(maps, sizes, strict=True)]


def assert_equal_maps(theirs, ours, image, *, tolerance=1e-5):
    """No norm bounds the maps, whose values grow with depth: so errors are parts of a map's largest value."""
    with torch.inference_mode():
        expected, features = their_maps(theirs, image), ours(image)
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
