"""MLP-Mixer: exact sizes, the mixing of cells by its equation, windows of its grid, weights resized to other grids."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.mlp_mixer import VARIANTS, CellMixing
from densevit.weights import load_weights, to_theirs
from densevit.weights.families import family_of
from tests.weights.common import equal
from tools.peers.common import randomize

# Of the classifier of 1000 classes, for images of 224 pixels.
RELEASED = {
    "mixer_small_p32": 19_104_624,
    "mixer_small_p16": 18_528_264,
    "mixer_base_p32": 60_293_428,
    "mixer_base_p16": 59_880_472,
    "mixer_large_p16": 208_196_168,
}
SMALL = dict(dim=16, depth=4, patch_size=8, image_size=32)


def small(create=densevit.create_backbone, **options):
    torch.manual_seed(0)
    return randomize(create("mixer_small_p16", **SMALL | options))


def test_the_sizes_are_those_of_the_releases():
    assert set(RELEASED) == set(VARIANTS)
    for name, count in RELEASED.items():
        with torch.device("meta"):
            assert sum(p.numel() for p in densevit.create_classifier(name, num_classes=1000).parameters()) == count


def _mlp(mixing, cells):
    hidden = F.gelu(F.linear(cells, mixing.fc1.weight, mixing.fc1.bias))
    return F.linear(hidden, mixing.fc2.weight, mixing.fc2.bias)


def test_cells_are_mixed_by_an_mlp_along_them_that_all_channels_share():
    mixing = randomize(CellMixing((2, 3), hidden=5)).double()
    grid = torch.randn(2, 2, 3, 4, dtype=torch.double)
    expected = torch.zeros_like(grid)
    for b in range(2):
        for c in range(4):
            expected[b, :, :, c] = _mlp(mixing, grid[b, :, :, c].flatten()).view(2, 3)
    torch.testing.assert_close(mixing(grid), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_maps_of_an_image_are_those_of_its_windows(spatial_dims):
    backbone = small(spatial_dims=spatial_dims).double()
    image = torch.randn(1, 3, *[64, 32, 32][:spatial_dims], dtype=torch.double)
    with torch.no_grad():
        halves = [backbone(part) for part in image.split(32, dim=2)]
        for whole, *parts in zip(backbone(image), *halves, strict=True):
            torch.testing.assert_close(whole, torch.cat(parts, dim=2), rtol=1e-10, atol=1e-10)


def test_cells_beyond_the_image_add_nothing():
    mixing = randomize(CellMixing((2, 2), hidden=5)).double()
    row = torch.randn(1, 1, 2, 3, dtype=torch.double)
    filled = torch.cat([row, torch.zeros_like(row)], dim=1)
    torch.testing.assert_close(mixing(row), mixing(filled)[:, :1])


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_resized_weights_are_their_own_on_their_grid_and_see_the_same_picture_enlarged(spatial_dims):
    mixing = randomize(CellMixing((3, 4, 2)[:spatial_dims], hidden=5)).double()
    resized = CellMixing(mixing.grid, hidden=5, resized=True).double()
    resized.load_state_dict(mixing.state_dict())
    grid = torch.randn(1, *mixing.grid, 6, dtype=torch.double)
    torch.testing.assert_close(resized(grid), mixing(grid), rtol=1e-10, atol=1e-10)
    even = grid.mean(dim=tuple(range(1, spatial_dims + 1)), keepdim=True)
    doubled = even.expand(1, *[2 * s for s in mixing.grid], 6)
    mixed = _mlp(mixing, even[0, ..., 0].expand(mixing.grid).flatten())  # of the grid as it was, then resized
    expected = F.interpolate(
        mixed.view(1, 1, *mixing.grid), size=doubled.shape[1:-1], mode="bilinear" if spatial_dims == 2 else "trilinear"
    )
    torch.testing.assert_close(resized(doubled)[..., 0], expected[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_resized_weights_take_any_image_and_export(spatial_dims):
    backbone = small(spatial_dims=spatial_dims, mixing="resized")
    image = torch.randn(1, 3, *(45, 20, 33)[:spatial_dims])
    maps = backbone(image)
    assert [tuple(x.shape) for x in maps] == [(1, 16, *(6, 3, 5)[:spatial_dims])] * 4
    program = torch.export.export(backbone, (image,))
    torch.testing.assert_close(program.module()(image), maps)
    sum(x.square().mean() for x in backbone.train()(image)).backward()
    assert all(p.grad is not None for p in backbone.parameters())


def test_another_mixing_is_refused():
    with pytest.raises(ValueError, match="mixing must be 'windows' or 'resized', got 'tiles'"):
        densevit.create_backbone("mixer_small_p16", mixing="tiles")


def test_a_model_for_crops_mixes_the_cells_of_the_whole_crop():
    assert family_of("mixer_small_p16").crop_options((64, 96)) == dict(image_size=(64, 96))


def test_the_released_names_are_those_of_timm(tmp_path):
    classifier = small(densevit.create_classifier, num_classes=3)
    theirs = to_theirs(classifier.state_dict(), "timm_mixer")
    expected = {
        "stem.proj.weight": (16, 3, 8, 8),
        "blocks.0.norm1.weight": (16,),
        "blocks.3.mlp_tokens.fc1.weight": (8, 16),
        "blocks.1.mlp_tokens.fc2.bias": (16,),
        "blocks.2.mlp_channels.fc1.weight": (64, 16),
        "norm.bias": (16,),
        "head.weight": (3, 16),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    torch.save(theirs, tmp_path / "mixer.pth")
    again = densevit.create_classifier("mixer_small_p16", num_classes=3, **SMALL)
    report = load_weights(again, tmp_path / "mixer.pth")
    assert (report.source, report.complete, report.ignored) == ("timm_mixer", True, ())
    assert equal(again, classifier)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(densevit.create_backbone("mixer_small_p16", **SMALL | dict(image_size=64)), tmp_path / "mixer.pth")
