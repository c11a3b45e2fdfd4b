"""Plain ViT: exact sizes, taps, final norms, positions and tokens."""

import pytest
import torch
from torch import nn

import densevit

# With one or two tokens and as many classifiers of 1000 classes.
VIT = {
    "vit_tiny": (192, 5_717_416),
    "vit_small": (384, 22_050_664),
    "vit_base": (768, 86_567_656),
    "vit_large": (1024, 304_326_632),
    "vit_huge": (1280, 632_045_800),
}
DEIT = {"vit_tiny": (192, 5_910_800), "vit_small": (384, 22_436_432), "vit_base": (768, 87_338_192)}


def count(backbone):
    return sum(p.numel() for p in backbone.parameters())


def small(**options):
    torch.manual_seed(0)
    return densevit.create_backbone("vit_tiny", **dict(dim=24, in_channels=1, image_size=64) | options).eval()


@pytest.mark.parametrize(("name", "num_tokens", "dim", "parameters"), [
    *((name, 1, *facts) for name, facts in VIT.items()),
    *((name, 2, *facts) for name, facts in DEIT.items()),
])  # fmt: skip
def test_the_sizes_are_those_of_the_releases(name, num_tokens, dim, parameters):
    with torch.device("meta"):
        backbone = densevit.create_backbone(name, num_tokens=num_tokens)
    assert count(backbone) == parameters - num_tokens * (1000 * dim + 1000)
    assert count(backbone) == count_by_hand(name, num_tokens)


def count_by_hand(name, num_tokens):
    dim, depth, patch = {
        "vit_tiny": (192, 12, 16),
        "vit_small": (384, 12, 16),
        "vit_base": (768, 12, 16),
        "vit_large": (1024, 24, 16),
        "vit_huge": (1280, 32, 14),
    }[name]
    block = 12 * dim * dim + 13 * dim
    return depth * block + 3 * patch**2 * dim + dim + ((224 // patch) ** 2 + 2 * num_tokens) * dim + 2 * dim


def test_the_encoder_of_unetr_has_no_bias_in_its_attention_and_the_eps_of_monai():
    with torch.device("meta"):
        backbone = densevit.create_backbone("unetr_vit_base", spatial_dims=3, in_channels=1)
    dim, patches = 768, 6**3
    assert count(backbone) == 12 * (12 * dim**2 + 10 * dim) + (16**3 + 1) * dim + patches * dim + 2 * dim
    assert len(backbone.stages) == 4
    assert [len(stage.blocks) for stage in backbone.stages] == [4, 3, 3, 2]
    assert {m.eps for m in backbone.modules() if isinstance(m, nn.LayerNorm)} == {1e-5}


@pytest.mark.parametrize(
    ("name", "taps"), [("vit_base", (2, 5, 8, 11)), ("vit_large", (5, 11, 17, 23)), ("vit_huge", (7, 15, 23, 31))]
)
def test_levels_leave_at_the_end_of_each_quarter(name, taps):
    with torch.device("meta"):
        backbone = densevit.create_backbone(name)
    depths = torch.tensor([len(stage.blocks) for stage in backbone.stages])
    assert tuple((depths.cumsum(0) - 1).tolist()) == taps


@pytest.mark.parametrize("taps", [(11,), (0, 1, 11), (3, 6, 9, 11), tuple(range(12))], ids=str)
def test_a_tap_is_the_output_of_its_block(taps):
    backbone = small(taps=taps, norm="none")
    every = small(taps=tuple(range(12)), norm="none")
    blocks = [block.state_dict() for stage in backbone.stages for block in stage.blocks]
    for stage, state in zip(every.stages, blocks, strict=True):
        stage.blocks[0].load_state_dict(state)
    every.stages[0].downsample.load_state_dict(backbone.stages[0].downsample.state_dict())
    x = torch.randn(2, 1, 64, 40)
    with torch.inference_mode():
        features, outputs = backbone(x), every(x)
    assert backbone.out_strides == (16,) * len(taps)
    assert all(torch.equal(feature, outputs[tap]) for feature, tap in zip(features, taps, strict=True))


@pytest.mark.parametrize("taps", [(), (3, 6, 9), (6, 3, 11), (3, 3, 11), (-1, 11), (3, 12)], ids=str)
def test_taps_that_do_not_rise_to_the_last_block_are_refused(taps):
    with pytest.raises(ValueError, match=r"taps must rise from 0 or more to 11, the last of 12 blocks, got"):
        small(taps=taps)


@pytest.mark.parametrize(("norm", "normed"), [("last", [3]), ("all", [0, 1, 2, 3]), ("none", [])])
def test_the_final_norm_stands_where_it_is_asked_for(norm, normed):
    backbone, plain = small(norm=norm), small(norm="none")
    x = torch.randn(1, 1, 64, 64)
    with torch.inference_mode():
        for i, (feature, raw) in enumerate(zip(backbone(x), plain(x), strict=True)):
            expected = nn.functional.layer_norm(raw.movedim(1, -1), [24], eps=1e-6).movedim(-1, 1)
            torch.testing.assert_close(feature, expected if i in normed else raw)
    assert len({id(m) for m in backbone.out_norms if isinstance(m, nn.LayerNorm)}) == bool(normed)


def test_unknown_norms_are_refused():
    with pytest.raises(ValueError, match="norm must be 'last', 'all' or 'none', got 'first'"):
        small(norm="first")


@pytest.mark.parametrize("position", ["learned", "sincos", None])
@pytest.mark.parametrize("num_tokens", [0, 1, 2])
@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (75, 33)), (3, (5, 33, 20)), (3, (1, 1, 1))])
def test_maps_have_the_patches_of_any_image(spatial_dims, size, num_tokens, position):
    backbone = small(spatial_dims=spatial_dims, num_tokens=num_tokens, position=position, dim=48, depth=4)
    with torch.inference_mode():
        features = backbone(torch.randn(2, 1, *size))
    assert [tuple(f.shape) for f in features] == [(2, 48, *(-(-s // 16) for s in size))] * 4


def test_only_positions_tell_the_patches_apart():
    x = torch.zeros(1, 1, 32, 48)
    with torch.inference_mode():
        spread = {kind: small(position=kind)(x)[-1].flatten(2).std(-1).max() for kind in ("learned", "sincos", None)}
    assert spread[None] < 1e-5
    assert min(spread["learned"], spread["sincos"]) > 1e-2


def test_patches_may_differ_per_axis():
    backbone = small(spatial_dims=3, patch_size=(4, 16, 8), image_size=(16, 64, 32))
    assert backbone.out_strides == ((4, 16, 8),) * 4
    assert backbone.stages[0].downsample.position.grid == (4, 4, 4)
    with torch.inference_mode():
        assert backbone(torch.randn(1, 1, 9, 16, 17))[0].shape == (1, 24, 3, 1, 3)


def test_drop_path_grows_linearly_over_all_blocks():
    backbone = small(drop_path=0.22)
    rates = [block.drop_path.p for stage in backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([0.02 * i for i in range(12)])


def test_fresh_patches_start_at_the_scale_of_the_image():
    backbone = densevit.create_backbone("vit_tiny")
    grid = backbone.stages[0].downsample.proj(torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0)))
    assert 0.6 < grid.std().item() < 1.2


def test_it_compiles_and_exports_as_one_graph_with_its_tokens():
    backbone = small(num_tokens=2, depth=4)
    x = torch.randn(1, 1, 40, 33)
    with torch.no_grad():
        expected = backbone(x)
        compiled = torch.compile(backbone, fullgraph=True, backend="eager")(x)
        exported = torch.export.export(backbone, (x,)).module()(x)
    for a, b, c in zip(expected, compiled, exported, strict=True):
        torch.testing.assert_close(b, a)
        torch.testing.assert_close(c, a)


def test_one_export_serves_every_image_size():
    backbone = small(num_tokens=1, depth=4)
    size = {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    exported = torch.export.export(backbone, (torch.randn(1, 1, 96, 80),), dynamic_shapes=(size,)).module()
    with torch.no_grad():
        for shape in ((96, 80), (128, 112), (64, 64)):
            x = torch.randn(1, 1, *shape)
            for a, b in zip(exported(x), backbone(x), strict=True):
                torch.testing.assert_close(a, b)
