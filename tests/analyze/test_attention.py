"""Maps of attention and rollout: written-out loops, and what holds for every family."""

from math import prod

import pytest
import torch

import densevit
from densevit.analyze.attention import attention_maps, by_stage, query_row, rollout
from densevit.blocks.recorded import record_attention

TINY = {
    "vit": dict(dim=24, depth=4, num_heads=3),
    "mit": dict(dims=(8, 16, 40, 64)),
    "pvt": dict(dims=(8, 16, 40, 64)),
    "swin": dict(dim=32, depths=(2, 2, 2, 2)),
    "cait": dict(dim=24, depth=4, num_heads=3),
    "mvit": dict(dim=16, depths=(1, 2, 2, 2)),
}


def recorded(name, size, **options):
    torch.manual_seed(0)
    options = {} if name == "swin_unetr_tiny" else TINY[name.partition("_")[0]] | options
    backbone = densevit.create_backbone(name, spatial_dims=len(size), in_channels=1, **options).eval()
    for parameter in backbone.parameters():  # so that attention is not as good as even
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=0.2)
    with torch.no_grad(), record_attention(backbone) as layers:
        backbone(torch.randn(1, 1, *size))
    return layers


def test_rollout_of_full_attention_is_the_written_out_product():
    layers = recorded("vit_tiny", (48, 64), num_tokens=1)
    total = torch.eye(13)
    for layer in layers:
        heads = layer.weights[0][0, 0]
        total = (0.5 * heads.mean(0) + 0.5 * torch.eye(13)) @ total
    torch.testing.assert_close(rollout(layers), total, atol=1e-6, rtol=0)


def test_rollout_of_windows_is_the_product_of_matrices_over_the_grid():
    layers = [layer for layer in recorded("swin_tiny", (56, 112)) if layer.name.startswith("stages.0.")]
    total = torch.eye(14 * 28)
    for layer in layers:
        matrix = torch.zeros(14 * 28, 14 * 28)
        for places, weights in zip(layer.places, layer.weights, strict=True):
            for window, (queries, keys) in enumerate(zip(places.queries, places.keys, strict=True)):
                for i, query in enumerate(queries.tolist()):
                    matrix[query, keys] = weights[0, window].mean(0)[i]
        total = (0.5 * matrix + 0.5 * torch.eye(14 * 28)) @ total
    torch.testing.assert_close(rollout(layers), total, atol=1e-6, rtol=0)


def test_a_reduced_key_stands_for_its_part_of_the_grid():
    layer = recorded("mit_b0", (64, 64))[0]
    weights = layer.weights[0][0, 0].mean(0)  # (256, 4): keys of 8 x 8 cells
    whole = weights.unflatten(1, (2, 2)).repeat_interleave(8, 1).repeat_interleave(8, 2) / 64
    torch.testing.assert_close(rollout([layer]), 0.5 * whole.flatten(1) + 0.5 * torch.eye(256), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("mit_b0", (72, 104), {}),
        ("pvt_v2_b0", (32, 40, 24), {}),
        ("swin_tiny", (72, 104), {}),
        ("swin_unetr_tiny", (32, 40, 24), {}),
        ("mvit_v1_base", (72, 104), {}),
        ("mvit_v2_tiny", (72, 104), dict(pyramid="windows")),
        ("cait_xxs24", (40, 50), {}),
        ("vit_tiny", (40, 50), dict(num_tokens=1, num_registers=2)),
    ],
)
def test_rows_of_a_rollout_through_all_stages_sum_to_one(name, size, options):
    layers = recorded(name, size, **options)
    rows = rollout(layers)
    assert rows.shape[1] == len(layers[0].prefix) + prod(layers[0].size)
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(1), torch.ones(len(rows)), atol=1e-5, rtol=0)


def test_maps_of_heads_are_the_weights_of_the_class_token_of_a_point_or_of_the_mean():
    layer = recorded("vit_tiny", (48, 64), num_tokens=1)[-1]
    weights = layer.weights[0][0, 0]  # (H, 13, 13)
    torch.testing.assert_close(attention_maps(layer), weights[:, 0, 1:].unflatten(1, (3, 4)))
    torch.testing.assert_close(attention_maps(layer, (0.5, 0.99)), weights[:, 1 + 7, 1:].unflatten(1, (3, 4)))
    plain = recorded("mit_b0", (64, 64))[-1]
    assert query_row(plain).unique().tolist() == [1 / prod(plain.size)]
    torch.testing.assert_close(attention_maps(plain).flatten(1), plain.weights[0][0, 0].mean(1))


def test_layers_are_told_apart_by_stage():
    assert {name: len(layers) for name, layers in by_stage(recorded("mit_b0", (64, 64))).items()} == {
        f"stage {i}": 2 for i in (1, 2, 3, 4)
    }


def test_too_many_tokens_and_modules_without_places_are_refused_in_a_sentence():
    layers = recorded("mit_b0", (64, 64))
    layers[0].places[0] = layers[0].places[0]._replace(query_size=(100, 100))
    with pytest.raises(ValueError, match=r"rollout of all 10000 tokens .* up to 4096; give a smaller image"):
        rollout(layers[:1])
    layers[0].places.clear()
    with pytest.raises(ValueError, match=r"stages\.0\.blocks\.0\.attn does not say which tokens it joins"):
        rollout(layers)
