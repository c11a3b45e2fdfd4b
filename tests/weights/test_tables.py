"""Tables of positions and relative biases: resized on load to the model's window or grid, and the report says so."""

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.position import resize_cubic
from densevit.weights import load_weights, save_weights
from densevit.weights.fit_tables import find_grid
from tests.weights.common import backbone
from tools.peers.common import picture


@pytest.mark.parametrize("size", [(13, 13), (23, 23), (9, 13), (4, 30)])
def test_cubic_resizing_of_two_axes_in_turn_is_bicubic(size):
    table = torch.randn(13, 13, 5, dtype=torch.float64)
    expected = F.interpolate(table.permute(2, 0, 1)[None], size=size, mode="bicubic", align_corners=False)[0]
    torch.testing.assert_close(resize_cubic(table, size), expected.permute(1, 2, 0))


@pytest.mark.parametrize(
    ("rows", "like", "expected"),
    [
        (169, (23, 23), (13, 13)),
        (169, (13, 13), (13, 13)),
        (13 * 23, (13, 23), (13, 23)),
        (2197, (23, 23, 23), (13, 13, 13)),
        (15 * 13 * 13, (3, 13, 13), (15, 13, 13)),
        (2048, (48, 96), (32, 64)),
        (170, (23, 23), None),
    ],
)
def test_the_layout_of_a_table_is_a_square_or_like_the_models(rows, like, expected):
    assert find_grid(rows, like) == expected


def filled(model, other, tmp_path, **options):
    """The report of loading the other model's weights."""
    save_weights(other, tmp_path / "a.safetensors", config={})
    return load_weights(model, tmp_path / "a.safetensors", **options)


def table_of(model):
    return model.stages[0].downsample.position.pos_embed.detach()


@pytest.mark.parametrize("size", [96, (64, 160), (224, 192)])
def test_positions_of_vit_are_resized_by_bicubic_interpolation(size, tmp_path):
    other = backbone("vit_tiny", depth=4)
    model = backbone("vit_tiny", depth=4, image_size=size, seed=1)
    report = filled(model, other, tmp_path)
    name = "backbone.stages.0.downsample.position.pos_embed"
    assert report.reshaped == (f"{name} {tuple(table_of(model).shape)} from (1, 196, 192) by resizing the table",)
    grid = [s // 16 for s in ((size, size) if isinstance(size, int) else size)]
    cells = table_of(other).unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    expected = F.interpolate(cells, size=grid, mode="bicubic", align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(table_of(model), expected)


def test_a_table_resized_on_load_gives_the_features_of_one_resized_in_the_model(tmp_path):
    other = backbone("vit_tiny", depth=4)
    model = backbone("vit_tiny", depth=4, image_size=(96, 64), seed=1)
    filled(model, other, tmp_path)
    image = picture(96, 64)
    with torch.no_grad():
        for ours, theirs in zip(model(image), other(image), strict=True):
            torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("theirs", "ours"), [(1, 0), (2, 0), (2, 1), (1, 1)])
def test_rows_of_tokens_that_the_model_lacks_are_left_out(theirs, ours, tmp_path):
    other = backbone("vit_tiny", depth=4, num_tokens=theirs)
    model = backbone("vit_tiny", depth=4, num_tokens=ours, image_size=64, seed=1)
    report = filled(model, other, tmp_path, strict=False)
    assert report.mismatched == ()
    assert torch.equal(table_of(model)[:, :ours], table_of(other)[:, :ours])
    assert table_of(model).shape == (1, ours + 16, 192)


def test_a_table_without_the_rows_of_tokens_is_refused(tmp_path):
    model = backbone("vit_tiny", depth=4, num_tokens=1, seed=1)
    with pytest.raises(ValueError, match=r"pos_embed \(1, 196, 192\) in the file, \(1, 197, 192\) in the model"):
        filled(model, backbone("vit_tiny", depth=4), tmp_path)


def test_positions_of_pvt_are_resized_at_every_level_by_bilinear_interpolation(tmp_path):
    other = backbone("pvt_v1_tiny", depths=(1, 1, 1, 1))
    model = backbone("pvt_v1_tiny", depths=(1, 1, 1, 1), image_size=(64, 128), seed=1)
    assert len(filled(model, other, tmp_path).reshaped) == 4
    for i, stride in enumerate((4, 8, 16, 32)):
        ours, theirs = (m.stages[i].downsample.position.pos_embed for m in (model, other))
        cells = theirs.unflatten(1, (224 // stride, 224 // stride)).permute(0, 3, 1, 2)
        size = (64 // stride, 128 // stride)
        expected = F.interpolate(cells, size=size, mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
        torch.testing.assert_close(ours, expected)


def test_positions_of_volumes_are_resized_too(tmp_path):
    other = backbone("vit_tiny", depth=4, spatial_dims=3)
    model = backbone("vit_tiny", depth=4, spatial_dims=3, image_size=(32, 48, 64), seed=1)
    filled(model, other, tmp_path)
    cells = table_of(other).unflatten(1, (6, 6, 6)).permute(0, 4, 1, 2, 3)
    expected = F.interpolate(cells, size=(2, 3, 4), mode="trilinear", align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(table_of(model), expected)


@pytest.mark.parametrize(
    ("spatial_dims", "theirs", "ours"),
    [(2, 7, 12), (2, 12, 7), (2, 7, (7, 4)), (3, 7, 4), (3, (8, 7, 7), (2, 7, 7)), (3, (2, 7, 7), (4, 7, 7))],
)
def test_relative_biases_are_resized_to_another_window(spatial_dims, theirs, ours, tmp_path):
    options = dict(spatial_dims=spatial_dims, dim=32, depths=(1, 1, 1, 1))
    other = backbone("swin_tiny", **options, window_size=theirs)
    model = backbone("swin_tiny", **options, window_size=ours, seed=1)
    report = filled(model, other, tmp_path)
    grids = [
        m.stages[0].blocks[0].attn.relative_position_bias_table.detach().unflatten(0, sides(window, spatial_dims))
        for m, window in ((other, theirs), (model, ours))
    ]
    torch.testing.assert_close(grids[1], resize_cubic(grids[0], sides(ours, spatial_dims)))
    assert len(report.reshaped) == 4
    assert "by resizing the table" in report.reshaped[0]


def sides(window, spatial_dims):
    return tuple(2 * w - 1 for w in (window if isinstance(window, tuple) else (window,) * spatial_dims))


def test_a_constant_bias_stays_constant(tmp_path):
    other = backbone("swin_tiny", depths=(1, 1, 1, 1))
    for stage in other.stages:
        torch.nn.init.constant_(stage.blocks[0].attn.relative_position_bias_table, 2.5)
    model = backbone("swin_tiny", depths=(1, 1, 1, 1), window_size=12, seed=1)
    filled(model, other, tmp_path)
    table = model.stages[3].blocks[0].attn.relative_position_bias_table
    torch.testing.assert_close(table, torch.full_like(table, 2.5))


def test_a_table_whose_layout_is_unclear_is_refused(tmp_path):
    other = backbone("swin_tiny", depths=(1, 1, 1, 1), window_size=(3, 5))
    with pytest.raises(ValueError, match=r"4 mismatched .*relative_position_bias_table \(45, 3\) in the file"):
        filled(backbone("swin_tiny", depths=(1, 1, 1, 1), seed=1), other, tmp_path)


@pytest.mark.parametrize("name", ["mvit_v1_base", "mvit_v2_tiny"])
def test_tables_of_mvit_are_resized_linearly(name, tmp_path):
    options = dict(dim=32, depths=(1, 1, 1, 1))
    other = backbone(name, **options, pyramid=dict(image_size=64))
    model = backbone(name, **options, pyramid=dict(image_size=(128, 96)), seed=1)
    report = filled(model, other, tmp_path)
    theirs = {name: t for name, t in other.state_dict().items() if "rel_pos" in name or "pos_embed_spatial" in name}
    assert len(report.reshaped) == len([n for n, t in theirs.items() if t.shape != model.state_dict()[n].shape]) > 0
    for name, table in theirs.items():
        ours = model.state_dict()[name]
        if "rel_pos" in name:
            expected = F.interpolate(table.t()[None], size=len(ours), mode="linear", align_corners=False)[0].t()
        else:
            cells = table.unflatten(1, (16, 16)).permute(0, 3, 1, 2)
            expected = F.interpolate(cells, size=(32, 24), mode="bilinear", align_corners=False).flatten(2).mT
        torch.testing.assert_close(ours, expected)
