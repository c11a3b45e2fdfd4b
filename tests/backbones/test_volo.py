"""VOLO: exact sizes, its strides, outlook attention written as loops, its classifier and its names."""

from itertools import product

import pytest
import torch

import densevit
from densevit.analyze.attention import attention_maps
from densevit.backbones.volo import VARIANTS, OutlookAttention
from densevit.blocks.recorded import record_attention
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Parameters of the classifier of 1000 classes.
RELEASED = {
    "volo_d1": 26_632_040,
    "volo_d2": 58_678_336,
    "volo_d3": 86_325_072,
    "volo_d4": 192_961_520,
    "volo_d5": 295_455_584,
}


def test_every_variant_is_counted():
    assert set(RELEASED) == set(VARIANTS)


@pytest.mark.parametrize("name", RELEASED)
def test_the_sizes_and_strides_are_those_of_the_releases(name):
    with torch.device("meta"):
        classifier = densevit.create_classifier(name, num_classes=1000)
    assert sum(p.numel() for p in classifier.parameters()) == RELEASED[name]
    assert classifier.backbone.out_strides == (8, 16, 16, 16)
    assert classifier.backbone.out_channels == (VARIANTS[name]["dims"][0], *[VARIANTS[name]["dims"][1]] * 3)


@pytest.mark.parametrize(
    ("size", "window"), [((3, 4), (3, 3)), ((1, 2), (3, 3)), ((1, 3, 2), (3, 3, 3)), ((2, 3, 4), (1, 3, 3))], ids=str
)
def test_outlook_attention_is_the_loops_of_the_paper(size, window):
    torch.manual_seed(0)
    attention = randomize(OutlookAttention(4, num_heads=2, window=window)).double()
    grid = torch.randn(*size, 4, dtype=torch.double)
    steps = [2 if cells == 3 else 1 for cells in window]
    mixed = torch.zeros_like(grid)
    for corner in product(*(range(0, s, step) for s, step in zip(size, steps, strict=True))):
        block = tuple(slice(c, c + step) for c, step in zip(corner, steps, strict=True))
        logits = attention.attn(grid[block].flatten(0, -2).mean(0)).unflatten(0, (2, attention.cells, attention.cells))
        around = (range(c - 1, c + 2) if cells == 3 else [c] for c, cells in zip(corner, window, strict=True))
        places = list(product(*around))
        inside = [all(0 <= p < s for p, s in zip(place, size, strict=True)) for place in places]
        for head, (i, query) in product(range(2), enumerate(places)):
            weights = (logits[head, i] / 2**0.5).softmax(0)
            channels = slice(2 * head, 2 * head + 2)
            for j, key in enumerate(places):
                if inside[i] and inside[j]:
                    mixed[query][channels] += weights[j] * attention.v(grid[key])[channels]
    torch.testing.assert_close(attention(grid[None])[0], attention.proj(mixed))


def test_gradients_go_through_overlapping_windows():
    torch.manual_seed(0)
    attention = randomize(OutlookAttention(2, num_heads=1, window=(3, 3))).double()
    assert torch.autograd.gradcheck(attention, torch.randn(1, 3, 4, 2, dtype=torch.double, requires_grad=True))


def small(**options):
    torch.manual_seed(0)
    shape = dict(depths=(1, 1, 1, 1), dims=(16, 32), num_heads=(2, 4), stem_dim=8, image_size=32) | options
    return randomize(densevit.create_classifier("volo_d1", num_classes=3, **shape))


@pytest.mark.parametrize(("spatial_dims", "size"), [(2, (40, 23)), (3, (8, 17, 40))])
def test_the_classifier_and_what_its_cells_look_at_are_of_any_rank(spatial_dims, size):
    classifier = small(spatial_dims=spatial_dims)
    with torch.no_grad(), record_attention(classifier) as layers:
        assert classifier(torch.randn(2, 3, *size)).shape == (2, 3)
    cells = torch.tensor([-(-s // 16) for s in size]).prod().item()
    outlook, *others = [layer.weights[0].shape for layer in layers]
    assert outlook == (2, cells, 2, 3**spatial_dims, 3**spatial_dims)
    assert others == [(2, 1, 4, cells, cells)] * 3 + [(2, 1, 4, 1, 1 + cells)] * 2
    map_of_corner = attention_maps(layers[0], [0.99] * spatial_dims)[0]
    assert map_of_corner.sum().item() == pytest.approx(1)
    assert map_of_corner.count_nonzero() <= 3**spatial_dims


def test_the_logits_are_those_of_the_class_token_and_half_of_the_largest_of_the_cells():
    classifier = small()
    features = classifier.forward_features(torch.randn(2, 3, 40, 23))
    of_class, of_cells = classifier.class_head.pair(features)
    assert of_cells.shape == (2, 3, 2, 3)
    expected = of_class + torch.stack([cells.flatten(0, 1).max(0).values for cells in of_cells]) / 2
    torch.testing.assert_close(classifier.class_head(features), expected)


def test_outlookers_drop_nothing_and_the_rates_of_others_rise_over_all_blocks():
    backbone = densevit.create_backbone("volo_d1", dims=(16, 32), depths=(2, 1, 1, 1), num_heads=(2, 2), drop_path=0.4)
    rates = [block.drop_path.p for stage in backbone.stages for block in stage.blocks]
    assert rates == pytest.approx([0, 0, 0.2, 0.3, 0.4])


def test_a_window_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"window must be 3 or 1 along each axis, got \(2, 2\)"):
        densevit.create_backbone("volo_d1", window=2)


def test_the_released_names_are_those_of_the_authors(tmp_path):
    classifier = small()
    theirs = to_theirs(classifier.state_dict(), "sail_volo")
    expected = {
        "cls_token": (1, 1, 32),
        "pos_embed": (1, 2, 2, 32),
        "patch_embed.conv.0.weight": (8, 3, 7, 7),
        "patch_embed.conv.7.running_var": (8,),
        "patch_embed.proj.bias": (16,),
        "network.0.0.attn.v.weight": (16, 16),
        "network.0.0.attn.attn.bias": (162,),
        "network.1.proj.weight": (32, 16, 2, 2),
        "network.2.0.attn.qkv.weight": (96, 32),
        "network.4.0.mlp.fc1.weight": (96, 32),
        "post_network.1.attn.kv.weight": (64, 32),
        "post_network.0.attn.proj.bias": (32,),
        "norm.weight": (32,),
        "head.bias": (3,),
        "aux_head.weight": (3, 32),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    assert not {"network.2.0.attn.qkv.bias", "post_network.0.attn.q.bias"} & set(theirs)
    torch.save(theirs, tmp_path / "d1.pth.tar")
    shape = dict(depths=(1, 1, 1, 1), dims=(16, 32), num_heads=(2, 4))
    again = densevit.create_classifier("volo_d1", num_classes=3, stem_dim=8, **shape)
    report = load_weights(again, tmp_path / "d1.pth.tar")
    assert (report.source, report.complete, report.ignored) == ("sail_volo", True, ())
    assert equal(again.class_head, classifier.class_head)
