"""PVT v1: exact sizes, tables of each stage, the class token of classification."""

import pytest
import torch

import densevit
from densevit.blocks.position import resize_positions

# Of the classifier: class token and its position (2 x 512), final norm (1024), 1000 classes (513 000).
CLASSIFIERS = {
    "pvt_v1_tiny": 13_229_288,
    "pvt_v1_small": 24_485_864,
    "pvt_v1_medium": 44_208_104,
    "pvt_v1_large": 61_369_320,
}


def count(backbone):
    return sum(p.numel() for p in backbone.parameters())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_sizes_are_those_of_the_release(name):
    with torch.device("meta"):
        assert count(densevit.create_backbone(name, class_token=True)) == CLASSIFIERS[name] - 1024 - 513_000
        assert count(densevit.create_backbone(name)) == CLASSIFIERS[name] - 1024 - 1024 - 513_000


@pytest.mark.parametrize("size", [(448, 448), (64, 800)], ids=str)
def test_each_stage_compares_the_grid_with_its_own_table(size):
    """At 448 pixels the second stage has the 56 x 56 cells of the first one's table, on which the release fails."""
    with torch.device("meta"):
        backbone = densevit.create_backbone("pvt_v1_tiny").eval()
        features = backbone(torch.empty(1, 3, *size))
    assert [tuple(f.shape[2:]) for f in features] == [(size[0] // s, size[1] // s) for s in (4, 8, 16, 32)]


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (64, 40)), (3, (8, 40, 33))])
def test_resizing_in_forward_equals_a_model_whose_tables_were_made_for_the_image(spatial_dims, size):
    torch.manual_seed(0)
    options = dict(spatial_dims=spatial_dims, in_channels=1)
    backbone = densevit.create_backbone("pvt_v1_tiny", image_size=32, **options).eval()
    made_for_it = densevit.create_backbone("pvt_v1_tiny", image_size=size, **options).eval()
    state = backbone.state_dict()
    for i, stage in enumerate(made_for_it.stages):
        old, new = backbone.stages[i].downsample.position, stage.downsample.position
        state[f"stages.{i}.downsample.position.pos_embed"] = resize_positions(
            old.pos_embed, grid=old.grid, size=new.grid, mode={2: "bilinear", 3: "trilinear"}[spatial_dims]
        )
    made_for_it.load_state_dict(state)
    x = torch.randn(2, 1, *size)
    with torch.inference_mode():
        for a, b in zip(backbone(x), made_for_it(x), strict=True):
            torch.testing.assert_close(a, b)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_class_token_takes_part_in_the_last_stage_and_leaves_no_trace_in_shapes(spatial_dims):
    torch.manual_seed(0)
    backbone = densevit.create_backbone(
        "pvt_v1_tiny", spatial_dims=spatial_dims, in_channels=1, image_size=32, class_token=True
    ).eval()
    x = torch.randn(1, 1, *(33, 40, 20)[:spatial_dims])
    with torch.inference_mode():
        before = backbone(x)
        backbone.stages[3].downsample.position.tokens.cls_token += torch.randn(512)  # not the same for all channels
        after = backbone(x)
    assert [tuple(f.shape[2:]) for f in before] == [tuple(-(-s // k) for s in x.shape[2:]) for k in (4, 8, 16, 32)]
    assert [torch.equal(a, b) for a, b in zip(before, after, strict=True)] == [True, True, True, False]


def test_no_norm_follows_a_stage():
    backbone = densevit.create_backbone("pvt_v1_tiny", image_size=32)
    norms = [name for name, module in backbone.named_modules() if isinstance(module, torch.nn.LayerNorm)]
    assert all(".blocks." in name or name.endswith("downsample.norm") for name in norms)
    assert {backbone.get_submodule(name).eps for name in norms if name.endswith(("norm1", "norm2"))} == {1e-6}
    assert {backbone.get_submodule(name).eps for name in norms if name.endswith(".norm")} == {1e-5}


def test_it_compiles_and_exports_as_one_graph_with_its_class_token():
    torch.manual_seed(0)
    backbone = densevit.create_backbone(
        "pvt_v1_tiny", in_channels=1, depths=(1, 1, 1, 1), image_size=32, class_token=True
    ).eval()
    x = torch.randn(1, 1, 40, 33)
    with torch.no_grad():
        expected = backbone(x)
        compiled = torch.compile(backbone, fullgraph=True, backend="eager")(x)
        exported = torch.export.export(backbone, (x,)).module()(x)
    for a, b, c in zip(expected, compiled, exported, strict=True):
        torch.testing.assert_close(b, a)
        torch.testing.assert_close(c, a)
