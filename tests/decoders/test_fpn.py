"""Semantic FPN: laterals, top-down sums, output convolutions, and a branch for each level, in 2D and 3D."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from tools.peers.common import randomize

MODES = {2: "bilinear", 3: "trilinear"}
CHANNELS = (5, 7, 8, 6)
# Sizes, strides, and the sizes that each level's branch goes through after its first convolution.
PYRAMIDS = {
    "odd": (
        [(13, 11, 6), (7, 6, 3), (4, 3, 2), (2, 2, 1)],
        [(4,) * 3, (8,) * 3, (16,) * 3, (32,) * 3],
        {0: [], 1: [0], 2: [1, 0], 3: [2, 1, 0]},
    ),
    "one stride": ([(6, 5, 3)] * 4, [(16,) * 3] * 4, {0: [], 1: [], 2: [], 3: []}),
    "per axis": (
        [(12, 5, 9), (6, 5, 5), (3, 5, 3), (2, 5, 2)],
        [(2, 4, 4), (4, 4, 8), (8, 4, 16), (16, 4, 32)],
        {0: [], 1: [0], 2: [1, 0], 3: [2, 1, 0]},
    ),
    "one pixel": (
        [(1, 1, 1)] * 4,
        [(4,) * 3, (8,) * 3, (16,) * 3, (32,) * 3],
        {0: [], 1: [0], 2: [1, 0], 3: [2, 1, 0]},
    ),
}


def decoder_and_features(spatial_dims, kind):
    torch.manual_seed(0)
    sizes, strides, _ = PYRAMIDS[kind]
    decoder = densevit.create_decoder(
        "fpn",
        in_channels=CHANNELS,
        in_strides=[stride[-spatial_dims:] for stride in strides],
        spatial_dims=spatial_dims,
        dim=8,
        head_dim=6,
        dropout=0.0,
    )
    features = [
        torch.randn(2, c, *size[-spatial_dims:], dtype=torch.float64).requires_grad_()
        for c, size in zip(CHANNELS, sizes, strict=True)
    ]
    return randomize(decoder.double()), features


def as_written(decoder, features, ways):
    """Every level on its own way up to the finest, then the sum of them all."""
    laterals = [conv(x) for conv, x in zip(decoder.lateral_convs, features, strict=True)]
    for i in (2, 1, 0):
        laterals[i] = laterals[i] + F.interpolate(laterals[i + 1], size=laterals[i].shape[2:], mode="nearest")
    total = 0
    for i, (conv, x) in enumerate(zip(decoder.fpn_convs, laterals, strict=True)):
        x = conv(x)
        convs = list(decoder.branch.levels[i])
        for k, layer in enumerate(convs):
            x = layer.bn(layer.conv(x)).relu()
            if ways[i]:
                size = features[ways[i][k]].shape[2:]
                x = F.interpolate(x, size=size, mode=MODES[x.ndim - 2], align_corners=False)
        assert len(convs) == max(len(ways[i]), 1)
        total = total + x
    return total


def outcome(decoder, forward, features):
    before = {name: buffer.clone() for name, buffer in decoder.named_buffers()}
    out = forward(features)
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    gradients = torch.autograd.grad((out * weighting).sum(), [*features, *decoder.parameters()])
    after = [buffer.clone() for buffer in decoder.buffers()]
    decoder.load_state_dict(before, strict=False)
    return [out.detach(), *gradients, *after]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", PYRAMIDS)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_values_gradients_and_statistics_are_those_of_the_graph_as_the_paper_draws_it(spatial_dims, kind, training):
    decoder, features = decoder_and_features(spatial_dims, kind)
    decoder.train(training)
    expected = outcome(decoder, lambda maps: as_written(decoder, maps, PYRAMIDS[kind][2]), features)
    for a, b in zip(outcome(decoder, lambda maps: decoder(maps).values, features), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_a_missing_octave_is_passed_at_half_of_the_finest_size():
    torch.manual_seed(0)
    decoder = densevit.create_decoder("fpn", in_channels=(4, 4), in_strides=(4, 16), dim=4, head_dim=4).eval()
    sizes = []
    first, second = decoder.branch.levels[1]
    for layer in (first, second):
        layer.register_forward_hook(lambda module, inputs, out: sizes.append(tuple(out.shape[2:])))
    assert decoder([torch.randn(1, 4, 13, 9), torch.randn(1, 4, 4, 3)]).values.shape == (1, 4, 13, 9)
    assert sizes == [(4, 3), (7, 5)]


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_levels_are_the_output_and_the_coarser_maps_of_the_pyramid(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims, "odd")
    levels = [level.values for level in decoder.forward_levels(features)]
    assert torch.equal(levels[0], decoder(features).values)
    assert [level.shape[1:] for level in levels] == [
        (channels, *feature.shape[2:]) for channels, feature in zip(decoder.level_channels, features, strict=True)
    ]
    assert len(decoder.level_strides) == 4


def test_a_sample_does_not_depend_on_its_batch():
    decoder, features = decoder_and_features(2, "odd")
    torch.testing.assert_close(decoder(features).values[1:], decoder([feature[1:] for feature in features]).values)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_compiles_without_a_break_and_exports(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims, "odd")
    decoder, features = decoder.float(), [feature.detach().float() for feature in features]
    with torch.no_grad():
        expected = decoder(features)
        torch.testing.assert_close(torch.compile(decoder, fullgraph=True, backend="eager")(features), expected)
        exported = torch.export.export(decoder, (features,)).module()
        torch.testing.assert_close(exported(features), expected)
