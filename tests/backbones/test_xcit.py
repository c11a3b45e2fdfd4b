"""XCiT: exact sizes, taps, attention between channels and positions written as loops, its classifier and its names."""

from math import cos, pi, sin

import pytest
import torch

import densevit
from densevit.backbones.xcit import VARIANTS, CrossCovarianceAttention
from densevit.blocks.position import FourierPositions
from densevit.blocks.recorded import record_attention
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Of the classifier of 1000 classes: with patches of 16, with patches of 8.
RELEASED = {
    "xcit_nano_12": (3_053_224, 3_049_016),
    "xcit_tiny_12": (6_716_272, 6_706_504),
    "xcit_tiny_24": (12_116_896, 12_107_128),
    "xcit_small_12": (26_253_304, 26_213_032),
    "xcit_small_24": (47_671_384, 47_631_112),
    "xcit_medium_24": (84_395_752, 84_323_624),
    "xcit_large_24": (189_096_136, 188_932_648),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sizes_and_taps_are_those_of_the_releases(name):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000)
    kind, _, patch = name.rpartition("_p")
    assert sum(p.numel() for p in classifier.parameters()) == RELEASED[kind][("16", "8").index(patch)]
    assert classifier.backbone.out_strides == (int(patch),) * 4
    ends = torch.tensor([len(stage.blocks) for stage in classifier.backbone.stages]).cumsum(0) - 1
    assert ends.tolist() == ([3, 5, 7, 11] if "_12_" in name else [7, 11, 15, 23])


def test_every_variant_is_counted():
    assert {f"{kind}_p{patch}" for kind in RELEASED for patch in (16, 8)} == set(VARIANTS)


def test_attention_between_channels_is_the_loops_of_the_paper():
    torch.manual_seed(0)
    attention = randomize(CrossCovarianceAttention(6, num_heads=2)).double()
    grid = torch.randn(1, 2, 5, 6, dtype=torch.double)
    q, k, v = attention.qkv(grid).reshape(10, 3, 6).unbind(1)  # (cells, channels)
    mixed = torch.zeros(10, 6, dtype=torch.double)
    for head in range(2):
        channels = range(3 * head, 3 * head + 3)
        for i in channels:
            cosines = [q[:, i] @ k[:, j] / (q[:, i].norm() * k[:, j].norm()) for j in channels]
            weights = (torch.stack(cosines) * attention.attend.temperature[head, 0, 0]).softmax(0)
            mixed[:, i] = sum(weight * v[:, j] for weight, j in zip(weights, channels, strict=True))
    torch.testing.assert_close(attention(grid), attention.proj(mixed).reshape(grid.shape))


def test_the_gradient_of_channels_that_are_all_zero_is_a_number():
    attention = randomize(CrossCovarianceAttention(6, num_heads=2))
    attention.qkv.bias.data.zero_()
    attention(torch.zeros(1, 2, 5, 6)).sum().backward()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


@pytest.mark.parametrize("size", [(3, 5), (2, 3, 4)], ids=str)
def test_positions_are_a_linear_map_of_waves_along_each_axis(size):
    positions = randomize(FourierPositions(len(size), 4, waves=6))
    weight, bias = positions.token_projection.weight.tolist(), positions.token_projection.bias.tolist()
    found = positions(torch.zeros(1, *size, 4))[0]
    for place in torch.cartesian_prod(*map(torch.arange, size)).tolist():
        code = []
        for coordinate, length in zip(place, size, strict=True):
            angle = 2 * pi * (coordinate + 1) / (length + 1e-6)
            code += [(cos if wave % 2 else sin)(angle / 10000 ** (2 * (wave // 2) / 6)) for wave in range(6)]
        expected = [sum(w * c for w, c in zip(row, code, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
        assert found[tuple(place)].tolist() == pytest.approx(expected, abs=1e-6)


def small(**options):
    torch.manual_seed(0)
    shape = dict(dim=16, depth=4, taps=(1, 3), patch_size=8) | options
    return randomize(densevit.create_classifier("xcit_nano_12_p16", num_classes=3, **shape))


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 23)), (3, (8, 17, 24))])
def test_the_classifier_is_of_any_rank_and_only_its_class_token_looks_at_places(spatial_dims, size):
    classifier = small(spatial_dims=spatial_dims)
    with torch.no_grad(), record_attention(classifier) as layers:
        assert classifier(torch.randn(2, 3, *size)).shape == (2, 3)
    cells = torch.tensor([-(-s // 8) for s in size]).prod().item()
    assert [layer.weights[0].shape for layer in layers] == [(2, 1, 4, 4, 4)] * 4 + [(2, 1, 4, 1, 1 + cells)] * 2
    assert [bool(layer.places) for layer in layers] == [False] * 4 + [True] * 2


def test_a_patch_that_no_stem_of_halvings_gives_is_refused():
    with pytest.raises(ValueError, match="patch_size must be 2, 4, 8, 16 or another power of two, got 12"):
        densevit.create_backbone("xcit_nano_12_p16", patch_size=12)


def test_the_released_names_are_those_of_the_authors(tmp_path):
    classifier = small()
    theirs = to_theirs(classifier.state_dict(), "facebook_xcit")
    expected = {
        "cls_token": (1, 1, 16),
        "patch_embed.proj.0.0.weight": (4, 3, 3, 3),
        "patch_embed.proj.4.1.running_var": (16,),
        "pos_embeder.token_projection.weight": (16, 64, 1, 1),
        "blocks.3.gamma3": (16,),
        "blocks.0.attn.temperature": (4, 1, 1),
        "blocks.0.attn.qkv.bias": (48,),
        "blocks.1.local_mp.conv2.weight": (16, 1, 3, 3),
        "blocks.1.local_mp.bn.running_mean": (16,),
        "blocks.2.norm3.weight": (16,),
        "cls_attn_blocks.1.attn.qkv.weight": (48, 16),
        "cls_attn_blocks.0.gamma2": (16,),
        "norm.weight": (16,),
        "head.bias": (3,),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    torch.save({"model": theirs}, tmp_path / "xcit.pth")
    again = densevit.create_classifier("xcit_nano_12_p16", num_classes=3, dim=16, depth=4, taps=(0, 3), patch_size=8)
    report = load_weights(again, tmp_path / "xcit.pth")
    assert (report.source, report.complete, report.ignored) == ("facebook_xcit", True, ())
    assert equal(again.class_head, classifier.class_head)
    other = densevit.create_backbone("xcit_nano_12_p16", dim=16, depth=4, taps=(0, 3))
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(other, tmp_path / "xcit.pth")


@pytest.mark.parametrize(("patch_size", "names"), [(16, {"fpn1.0", "fpn1.1", "fpn1.3", "fpn2.0"}), (8, {"fpn1.0"})])
def test_the_pyramid_of_the_authors_segmentation_loads_with_the_backbone(patch_size, names, tmp_path):
    shape = dict(dim=24, depth=4, num_heads=3, taps=(0, 1, 2, 3), patch_size=patch_size)
    model = randomize(densevit.create_backbone("xcit_nano_12_p16", neck="feature2pyramid", **shape))
    theirs = to_theirs(model.state_dict(), "facebook_xcit")
    assert {name.rpartition(".")[0] for name in theirs if name.startswith("fpn")} == names
    torch.save({f"backbone.{name}": tensor for name, tensor in theirs.items()}, tmp_path / "upernet.pth")
    again = densevit.create_backbone("xcit_nano_12_p16", neck="feature2pyramid", **shape)
    assert load_weights(again, tmp_path / "upernet.pth").complete
    assert equal(again, model)
    report = load_weights(densevit.create_backbone("xcit_nano_12_p16", **shape), tmp_path / "upernet.pth")
    assert (report.complete, all(".neck." in name for name in report.ignored)) == (True, True)
