"""Recorded attention is what the network computes, of every family and rank, and says which tokens it joins."""

from math import prod

import pytest
import torch

import densevit
from densevit.blocks.attention import Attend, SelfAttention, SpatialReductionAttention, StridedReduction
from densevit.blocks.pooling_attention import HeadPool, PoolingAttention
from densevit.blocks.recorded import record_attention
from densevit.blocks.tokens import as_tokens
from densevit.blocks.window import WindowAttention
from tests.test_any_with_any import SMALL

SIZES = {2: (72, 104), 3: (32, 40, 24)}


def attending(module):
    return [(name, each) for name, each in module.named_modules() if isinstance(each, Attend)]


def calls_of(backbone, image):
    """(q, k, v, options, output) of each call of attention."""
    calls = []

    def note(module, inputs, options, output):
        calls.append((module, inputs, options, output.clone()))  # which may be written into later

    hooks = [each.register_forward_hook(note, with_kwargs=True) for _, each in attending(backbone)]
    with torch.no_grad(), record_attention(backbone) as layers:
        backbone(image)
    for hook in hooks:
        hook.remove()
    return layers, calls


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("name", SMALL)
def test_weights_times_values_are_what_the_network_goes_on_with(name, rank):
    torch.manual_seed(0)
    backbone = densevit.create_backbone(name, spatial_dims=rank, in_channels=1, **SMALL[name]).eval()
    layers, calls = calls_of(backbone, torch.randn(1, 1, *SIZES[rank]))
    weights = [each for layer in layers for each in layer.weights]
    assert len(weights) == len(calls)
    for recorded, (module, (_, _, *values), _, output) in zip(weights, calls, strict=True):
        made = recorded.flatten(0, 1)  # weights between channels are folded into what comes after them
        assert torch.allclose(made @ values[0] if values else made, output, atol=1e-5)
        if type(module) is Attend:  # rows of mixed heads have other sums
            assert torch.allclose(recorded.sum(-1), torch.ones(()), atol=1e-5)
    for layer in (layer for layer in layers if layer.places):  # channels stand nowhere
        queries = torch.cat([each.queries.flatten() for each in layer.places])
        count = len(layer.prefix) + prod(layer.places[0].query_size)
        once = queries[queries >= 0].sort().values
        once = once.unique() if name.startswith(("volo", "timesformer")) else once  # whose windows overlap
        asking = slice(len(layer.prefix) if ".temporal_attn" in layer.name else 0, count)  # only cells look over time
        assert once.tolist() == list(range(count))[asking]
        assert [each.shape[1:] for each in layer.weights] == [
            (len(each.queries), layer.weights[0].shape[2], each.queries.shape[1], each.keys.shape[1])
            for each in layer.places
        ]


def test_nothing_is_left_behind_and_nothing_is_changed():
    backbone = densevit.create_backbone("vit_tiny", num_tokens=1).eval()
    image = torch.randn(1, 3, 48, 64)
    with torch.no_grad():
        before = backbone(image)
        with record_attention(backbone) as layers:
            during = backbone(image)
        recorded = len(layers)
        backbone(image)
    assert all(map(torch.equal, before, during))
    assert len(layers) == recorded == 12
    assert not any(module._forward_pre_hooks for module in backbone.modules())


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (SelfAttention(8, num_heads=2), (4, 6)),
        (SpatialReductionAttention(8, num_heads=2, reduction=StridedReduction(2, 8, ratio=2)), (6, 7)),
        (WindowAttention(2, 8, num_heads=2, window_size=4, shifted=True), (8, 12)),
        (WindowAttention(3, 8, num_heads=2, window_size=2, shifted=True), (4, 6, 2)),
        (PoolingAttention(8, 8, num_heads=2, pools=[HeadPool(2, 4, stride=s) for s in (2, 2, 2)]), (6, 8)),
        (
            PoolingAttention(
                8, 8, num_heads=2, pools=[HeadPool(2, 4, stride=s) for s in (1, 2, 2)], windows=((4, 4), (2, 2))
            ),
            (8, 12),
        ),
    ],
    ids=["full", "reduced", "windows", "windows of a volume", "pooled", "pooled windows"],
)
def test_places_put_the_weights_where_the_values_come_from(layer, size):
    """Weights spread over all pairs of tokens, times the values on the grid of keys, are the module's output."""
    torch.manual_seed(0)
    x = torch.randn(1, *size, 8)
    pools = isinstance(layer, PoolingAttention)
    seen = {}
    layer.proj.register_forward_hook(lambda module, inputs, output: seen.update(out=inputs[0]))
    with torch.no_grad(), record_attention(layer) as layers:
        layer(as_tokens(x) if pools else x)
        if pools:
            qkv = layer.qkv(x.flatten(1, -2)).chunk(3, dim=-1)[2]
            values = layer.pool_v(as_tokens(x)._replace(values=qkv)).values[0]
        elif isinstance(layer, SpatialReductionAttention):
            values = layer.kv(layer.sr(x)).flatten(1, -2).chunk(2, dim=-1)[1][0]
        else:
            values = layer.qkv(x).flatten(1, -2).chunk(3, dim=-1)[2][0]
    (found,) = layers
    full = torch.zeros(2, prod(found.places[0].query_size), len(values))
    for places, weights in zip(found.places, found.weights, strict=True):
        for window in range(len(places.queries)):
            full[:, places.queries[window][:, None], places.keys[window]] = weights[0, window]
    mixed = torch.einsum("hnm,mhk->nhk", full, values.unflatten(-1, (2, 4))).flatten(1)
    assert torch.allclose(mixed, seen["out"].reshape(mixed.shape), atol=1e-5)


def test_more_weights_than_are_kept_are_refused():
    backbone = densevit.create_backbone("vit_tiny").eval()
    message = r"stages\.0\.blocks\.1\.attn has 16 queries and 16 keys, .* more than the 1000 weights .* smaller image"
    with torch.no_grad(), record_attention(backbone, most=1000), pytest.raises(ValueError, match=message):
        backbone(torch.randn(1, 3, 64, 64))
