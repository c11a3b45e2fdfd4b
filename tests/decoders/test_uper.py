"""UPerNet: its fusion is the convolution that the paper writes, made where it is cheap, in 2D and 3D."""

import pytest
import torch
import torch.nn.functional as F
import torch.utils.flop_counter
from torch import nn

import densevit
from densevit.blocks.pyramid import PyramidConvNormReLU, resized_conv
from tools.peers.common import randomize

MODES = {2: "bilinear", 3: "trilinear"}
CONVOLVE = {2: F.conv2d, 3: F.conv3d}
CHANNELS = (5, 7, 8, 6)
SIZES = {
    "odd": [(13, 11, 6), (7, 6, 3), (4, 3, 2), (2, 2, 1)],
    "one stride": [(6, 5, 3)] * 4,
    "per axis": [(12, 5, 9), (6, 5, 5), (3, 5, 3), (2, 3, 2)],
    "one pixel": [(1, 1, 1)] * 4,
}
STRIDES = {"odd": (4, 8, 16, 32), "one stride": (16,) * 4, "one pixel": (4, 8, 16, 32)}


def strides_of(kind, spatial_dims):
    per_axis = [(2, 4, 4), (4, 4, 8), (8, 4, 16), (16, 8, 32)]
    return STRIDES.get(kind, [stride[-spatial_dims:] for stride in per_axis])


def decoder_and_features(spatial_dims, kind, **options):
    torch.manual_seed(0)
    decoder = densevit.create_decoder(
        "uper",
        in_channels=CHANNELS,
        in_strides=strides_of(kind, spatial_dims),
        spatial_dims=spatial_dims,
        dim=8,
        dropout=0.0,
        **options,
    )
    sizes = [size[-spatial_dims:] for size in SIZES[kind]]
    features = [torch.randn(2, c, *s, dtype=torch.float64) for c, s in zip(CHANNELS, sizes, strict=True)]
    return randomize(decoder.double()), [feature.requires_grad_() for feature in features]


def resized(x, size):
    return F.interpolate(x, size=size, mode=MODES[x.ndim - 2], align_corners=False)


def step(module, x, padding=0):
    """Convolution, norm and ReLU of a module that has them by these names, as separate calls."""
    return module.bn(CONVOLVE[x.ndim - 2](x, module.conv.weight, padding=padding)).relu()


def as_written(decoder, features):
    """The paper's graph in the order in which it is drawn: every map is resized and concatenated before it is fused."""
    *finer, last = features
    pool = {2: F.adaptive_avg_pool2d, 3: F.adaptive_avg_pool3d}[last.ndim - 2]
    pooled = [step(m.project, pool(last, cells)) for m, cells in zip(decoder.psp_modules, (1, 2, 3, 6), strict=True)]
    maps = [step(decoder.bottleneck, torch.cat([last, *[resized(p, last.shape[2:]) for p in pooled]], 1), 1)]
    for feature, lateral in zip(finer[::-1], decoder.lateral_convs[::-1], strict=True):
        maps.insert(0, step(lateral, feature) + resized(maps[0], feature.shape[2:]))
    maps = [*[step(conv, x, 1) for conv, x in zip(decoder.fpn_convs, maps, strict=False)], maps[-1]]
    fused = torch.cat([resized(x, maps[0].shape[2:]) for x in maps], 1)
    return step(decoder.fpn_bottleneck, fused, 1)


def outcome(decoder, forward, features):
    """The map, every gradient, and the running statistics that a forward and backward pass leave."""
    before = {name: buffer.clone() for name, buffer in decoder.named_buffers()}
    out = forward(features)
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    gradients = torch.autograd.grad((out * weighting).sum(), [*features, *decoder.parameters()])
    after = [buffer.clone() for buffer in decoder.buffers()]
    decoder.load_state_dict(before, strict=False)
    return [out.detach(), *gradients, *after]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("kind", SIZES)
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_values_gradients_and_statistics_are_those_of_the_graph_as_the_paper_draws_it(spatial_dims, kind, training):
    decoder, features = decoder_and_features(spatial_dims, kind)
    decoder.train(training)
    expected = outcome(decoder, lambda maps: as_written(decoder, maps), features)
    for a, b in zip(outcome(decoder, lambda maps: decoder(maps).values, features), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_levels_are_the_output_and_the_coarser_maps_of_the_pyramid(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims, "odd")
    levels = [level.values for level in decoder.forward_levels(features)]
    assert torch.equal(levels[0], decoder(features).values)
    assert [tuple(level.shape[2:]) for level in levels] == [size[-spatial_dims:] for size in SIZES["odd"]]
    assert [level.shape[1] for level in levels] == list(decoder.level_channels)
    assert decoder.level_strides == (4, 8, 16, 32)


def test_a_sample_does_not_depend_on_its_batch():
    decoder, features = decoder_and_features(2, "odd")
    alone = [feature[1:] for feature in features]
    torch.testing.assert_close(decoder(features).values[1:], decoder(alone).values)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_training_on_one_image_says_what_to_do(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims, "odd")
    with pytest.raises(
        ValueError, match=r"one value a channel, got a map of \(1, 8, 1, 1.*at least two images a batch"
    ):
        decoder.train()([feature[:1] for feature in features])
    decoder, features = decoder_and_features(spatial_dims, "odd", pool_sizes=(2, 3, 6))
    assert decoder.train()([feature[:1] for feature in features]).values.shape[0] == 1


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_compiles_without_a_break_and_exports(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims, "odd")
    decoder, features = decoder.float(), [feature.detach().float() for feature in features]
    with torch.no_grad():
        expected = decoder(features)
        torch.testing.assert_close(torch.compile(decoder, fullgraph=True, backend="eager")(features), expected)
        exported = torch.export.export(decoder, (features,)).module()
        torch.testing.assert_close(exported(features), expected)


# The convolution of a resized map.


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(
    ("size", "size_out"), [((5, 7), (10, 13)), ((1, 1), (4, 5)), ((6, 3), (4, 9)), ((3, 4, 5), (6, 7, 10))], ids=str
)
def test_a_convolution_at_the_maps_own_resolution_equals_that_of_the_resized_map(size, size_out, kernel):
    n = len(size)
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    weight = torch.randn(3, 4, *[kernel] * n, dtype=torch.float64)
    expected = CONVOLVE[n](resized(x, size_out), weight, padding=kernel // 2)
    torch.testing.assert_close(resized_conv(x.movedim(1, -1), weight, size_out).movedim(-1, 1), expected)


class Products(torch.utils.flop_counter.FlopCounterMode):
    def __init__(self):
        super().__init__(display=False)


def test_the_fusion_of_a_pyramid_takes_less_than_half_of_the_products():
    levels = [torch.empty(1, 64, 64 // 2**i, 64 // 2**i, device="meta") for i in range(4)]
    fusion = PyramidConvNormReLU(2, [64] * 4, 64).to("meta")
    direct = nn.Conv2d(256, 64, 3, padding=1, device="meta")
    with Products() as ours:
        fusion(levels)
    with Products() as theirs:
        direct(torch.empty(1, 256, 64, 64, device="meta"))
    assert ours.get_total_flops() < 0.5 * theirs.get_total_flops()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_fusion_is_as_exact_as_the_plain_convolution(dtype):
    torch.manual_seed(0)
    levels = [torch.randn(1, 32, size, size) for size in (20, 10, 5, 3)]
    fusion = PyramidConvNormReLU(2, [32] * 4, 32)
    with torch.no_grad():
        image = torch.cat([resized(level, (20, 20)) for level in levels], 1)
        exact = fusion(levels)
        half = [level.to(dtype) for level in levels]
        plain = fusion.bn(F.conv2d(image.to(dtype), fusion.conv.weight.to(dtype), padding=1).float()).relu()
        ours = fusion.to(dtype)(half).float()
    # The norm of a fresh module in training mode gives both the same scale.
    assert (ours - exact).square().mean().sqrt() <= 1.5 * (plain - exact).square().mean().sqrt() + 1e-3
