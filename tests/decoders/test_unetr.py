"""The skip decoder over any pyramid: what joins where, sizes, widths, gradients."""

from math import ceil

import pytest
import torch

import densevit
from densevit.blocks import nd

# Name -> (strides, channels): taps of one stride, pyramids, both anisotropic, and forms between.
PYRAMIDS = {
    "taps of UNETR": ((16, 16, 16, 16), (12, 12, 12, 12)),
    "few taps": ((8, 8), (12, 12)),
    "one tap": ((16,), (12,)),
    "many taps": ((4, 4, 4, 4, 4), (12,) * 5),
    "taps of stride 14": ((14, 14, 14), (12,) * 3),
    "taps of stride 2": ((2, 2, 2), (12,) * 3),
    "taps of stride 1": ((1, 1), (12,) * 2),
    "Swin UNETR": ((2, 4, 8, 16, 32), (6, 8, 10, 12, 14)),
    "stride 4 on": ((4, 8, 16, 32), (6, 8, 10, 12)),
    "a level of the image's size": ((1, 2, 4), (4, 6, 8)),
    "a gap": ((2, 16), (4, 12)),
    "a stride twice": ((4, 8, 8), (6, 8, 10)),
    "one level": ((3,), (6,)),
}
ANISOTROPIC = {
    "flat taps": (((4, 16, 16),) * 4, (12,) * 4),
    "one axis never reduced": (((1, 8, 8),) * 3, (12,) * 3),
    "flat pyramid": (((2, 4, 4), (2, 8, 8), (4, 16, 16)), (6, 8, 10)),
}
CASES = [(name, n) for name in PYRAMIDS for n in (2, 3)] + [(name, 3) for name in ANISOTROPIC]
SIZES = {"even": (32, 48, 64), "odd": (18, 17, 35), "tiny": (3, 5, 2), "one pixel": (1, 1, 1), "flat": (2, 19, 70)}


def decoder_of(name, spatial_dims, *, image_channels=2, **options):
    torch.manual_seed(0)
    strides, channels = (PYRAMIDS | ANISOTROPIC)[name]
    return densevit.create_decoder(
        "unetr",
        in_channels=channels,
        in_strides=strides,
        spatial_dims=spatial_dims,
        image_channels=image_channels,
        **options,
    )


def features_of(name, spatial_dims, *, size="even", image_channels=2, batch=2, dtype=torch.float32, device="cpu"):
    strides, channels = (PYRAMIDS | ANISOTROPIC)[name]
    image_size = SIZES[size][-spatial_dims:]
    levels = [(1, image_channels)] * (image_channels is not None) + list(zip(strides, channels, strict=True))
    shapes = [(batch, c, *nd.ceil_div(image_size, stride)) for stride, c in levels]
    if device == "meta":
        return [torch.empty(shape, device="meta") for shape in shapes]
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_with_an_image_every_map_has_the_size_of_its_stride(name, spatial_dims, size):
    with torch.device("meta"):
        decoder = decoder_of(name, spatial_dims).eval()
    features = features_of(name, spatial_dims, size=size, device="meta")
    maps, image_size = [x.values for x in decoder.forward_levels(features)], features[0].shape[2:]
    wanted = [
        (2, c, *nd.ceil_div(image_size, stride))
        for c, stride in zip(decoder.level_channels, decoder.level_strides, strict=True)
    ]
    assert [tuple(m.shape) for m in maps] == wanted
    assert decoder.out_stride == decoder.level_strides[0] == 1
    assert decoder(features).values.shape == (2, decoder.out_channels, *image_size)


@pytest.mark.parametrize("size", ["even", "odd", "one pixel"])
@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_without_an_image_a_pyramid_ends_at_its_finest_level(name, spatial_dims, size):
    with torch.device("meta"):
        decoder = decoder_of(name, spatial_dims, image_channels=None).eval()
    features = features_of(name, spatial_dims, size=size, image_channels=None, device="meta")
    maps = [x.values for x in decoder.forward_levels(features)]
    assert [m.shape[1] for m in maps] == list(decoder.level_channels)
    if len(set((PYRAMIDS | ANISOTROPIC)[name][0])) > 1:
        assert maps[0].shape == features[0].shape
        assert decoder.out_stride == (PYRAMIDS | ANISOTROPIC)[name][0][0]


@pytest.mark.parametrize(
    ("strides", "out_stride"), [((16,) * 4, 2), ((8,) * 2, 2), (((4, 16, 16),) * 3, (1, 2, 2)), ((2, 2), 2)], ids=str
)
def test_without_an_image_taps_end_one_step_below_it(strides, out_stride):
    decoder = densevit.create_decoder("unetr", in_channels=[8] * len(strides), in_strides=strides, spatial_dims=3)
    assert decoder.out_stride == out_stride
    features = [torch.randn(1, 8, 2, 3, 2) for _ in strides]
    step = [s // o for s, o in zip(nd.ntuple(strides[0], 3), nd.ntuple(out_stride, 3), strict=True)]
    assert decoder(features).values.shape == (
        1,
        decoder.out_channels,
        *(g * s for g, s in zip((2, 3, 2), step, strict=True)),
    )


def ladder(decoder):
    """Stride, width and number of skips of each rung, fine to coarse."""
    return [
        (stride, dim, len(rung.levels))
        for stride, dim, rung in zip(decoder.level_strides, decoder.level_channels, decoder.rungs, strict=True)
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("taps of UNETR", [(1, 16, 1), (2, 32, 1), (4, 64, 1), (8, 128, 1)]),
        ("few taps", [(1, 16, 1), (2, 32, 0), (4, 64, 1)]),
        ("one tap", [(1, 16, 1), (2, 32, 0), (4, 64, 0), (8, 128, 0)]),
        ("many taps", [(1, 16, 1), (2, 32, 4)]),
        ("taps of stride 14", [(1, 16, 1), (2, 32, 2)]),
        ("Swin UNETR", [(1, 6, 1), (2, 6, 1), (4, 8, 1), (8, 10, 1), (16, 12, 1)]),
        ("stride 4 on", [(1, 16, 1), (2, 16, 0), (4, 6, 1), (8, 8, 1), (16, 10, 1)]),
        ("a gap", [(1, 4, 1), (2, 4, 1), (4, 8, 0), (8, 12, 0)]),
        ("flat taps", [(1, 16, 1), ((1, 2, 2), 32, 1), ((1, 4, 4), 64, 1), ((2, 8, 8), 128, 1)]),
        ("flat pyramid", [(1, 16, 1), ((1, 2, 2), 16, 0), ((2, 4, 4), 6, 1), ((2, 8, 8), 8, 1)]),
    ],
)
def test_levels_join_at_their_own_resolution_and_taps_the_deeper_the_coarser(name, expected):
    assert ladder(decoder_of(name, 3)) == expected


def test_the_width_at_the_image_halves_with_each_missing_octave_but_one():
    def width(channels, stride, **options):
        decoder = densevit.create_decoder(
            "unetr", in_channels=[channels, 2 * channels], in_strides=[stride, 2 * stride], image_channels=3, **options
        )
        return decoder.level_channels

    assert width(24, 2) == (24, 24)
    assert width(96, 4) == (24, 48, 96)
    assert width(32, 4) == (16, 32, 32)
    assert width(96, 4, dim=40) == (40, 80, 96)
    assert width(32, 4, dim=64) == (64, 64, 32)


def test_a_width_at_the_image_without_an_image_is_refused():
    with pytest.raises(ValueError, match=r"dim=8 is the width at the image's resolution; leave it out or give image_"):
        decoder_of("stride 4 on", 2, image_channels=None, dim=8)


def test_strides_that_are_no_multiples_are_refused():
    with pytest.raises(ValueError, match=r"stride \(6, 6\) must be a multiple of the finer \(4, 4\)"):
        densevit.create_decoder("unetr", in_channels=[8, 8], in_strides=[4, 6])


@pytest.mark.parametrize("size", ["odd", "tiny"])
@pytest.mark.parametrize(("name", "spatial_dims"), CASES)
def test_gradients_reach_every_parameter_and_every_feature(name, spatial_dims, size):
    decoder = decoder_of(name, spatial_dims, dim=3).train()
    features = [f.requires_grad_() for f in features_of(name, spatial_dims, size=size)]
    weights = torch.randn(features[0].shape[2:], generator=torch.Generator().manual_seed(2))
    (decoder(features).values * weights).sum().backward()
    for part, p in (*decoder.named_parameters(), *enumerate(features)):
        assert p.grad is not None, part
        assert torch.isfinite(p.grad).all(), part
        if size == "odd":  # of a map of one pixel, shortcuts alone pass anything on
            assert p.grad.abs().sum() > 0, part


@pytest.mark.parametrize("name", ["taps of UNETR", "stride 4 on"])
@pytest.mark.parametrize("size", ["one pixel", "tiny"])
def test_images_of_a_few_pixels_can_be_trained_on(name, size):
    decoder = decoder_of(name, 3).train()
    logits = decoder(features_of(name, 3, size=size)).values
    logits.sum().backward()
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "spatial_dims"), [("taps of UNETR", 2), ("Swin UNETR", 3), ("flat pyramid", 3)])
def test_a_sample_does_not_depend_on_its_batch_nor_on_layout_and_mode(name, spatial_dims):
    decoder = decoder_of(name, spatial_dims, dim=3)
    features = features_of(name, spatial_dims, size="odd", batch=3)
    expected = decoder.double()([f[1:2].double() for f in features]).values
    decoder.float()
    layouts = [features, [f.to(memory_format=nd.CHANNELS_LAST[spatial_dims]) for f in features]]
    for given in layouts:
        before = [f.clone() for f in given]
        for training in (False, True):
            with torch.set_grad_enabled(training):
                together, alone = (decoder.train(training)(x).values for x in (given, [f[1:2] for f in given]))
            for found in (together[1:2], alone):
                assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()
        assert all(torch.equal(a, b) for a, b in zip(before, given, strict=True))


@pytest.mark.parametrize("name", ["taps of UNETR", "Swin UNETR"])
def test_one_module_serves_pictures_and_volumes(name):
    flat, deep = (decoder_of(name, n) for n in (2, 3))
    assert [type(m).__name__.replace("3d", "2d") for m in deep.modules()] == [type(m).__name__ for m in flat.modules()]


@pytest.mark.parametrize("name", ["few taps", "stride 4 on"])
def test_the_decoder_compiles_whole_and_gives_the_same_numbers(name):
    decoder, features = decoder_of(name, 2, dim=3), features_of(name, 2, size="odd")
    compiled = torch.compile(decoder, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(features), decoder(features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "spatial_dims"), [("few taps", 3), ("stride 4 on", 2), ("Swin UNETR", 3)])
def test_the_decoder_is_exported_and_gives_the_same_numbers(name, spatial_dims):
    decoder, features = decoder_of(name, spatial_dims, dim=3).eval(), features_of(name, spatial_dims, size="odd")
    with torch.no_grad():
        exported = torch.export.export(decoder, (features,)).module()
        torch.testing.assert_close(exported(features), decoder(features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("image_channels", [1, 4])
def test_a_segmentor_hands_the_image_over_and_keeps_its_size(image_channels):
    model = densevit.create_segmentor("mit_b0", "unetr", num_classes=5, in_channels=image_channels)
    x = torch.randn(1, image_channels, 37, 50)
    assert model.decoder.image_channels == image_channels
    assert model.decoder.skips[0].conv1.in_channels == image_channels
    assert model.forward_logits(x).shape == model(x).shape == (1, 5, 37, 50)


def test_the_image_can_be_left_out():
    model = densevit.create_segmentor("mit_b0", "unetr", num_classes=5, decoder_options=dict(image_channels=None))
    x = torch.randn(1, 3, 37, 50)
    assert model.decoder.image_channels is None
    assert model.forward_logits(x).shape == (1, 5, ceil(37 / 4), ceil(50 / 4))
    assert model(x).shape == (1, 5, 37, 50)
