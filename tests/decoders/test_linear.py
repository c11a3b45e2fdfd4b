"""The linear probe: nothing learned, the levels side by side, normalised over the batch."""

import pytest
import torch
import torch.nn.functional as F

import densevit

CHANNELS, STRIDES = (5, 7, 6), (4, 8, 16)
SIZES = [(9, 7, 6), (5, 4, 3), (3, 2, 2)]


def decoder_and_features(spatial_dims, **options):
    torch.manual_seed(0)
    decoder = densevit.create_decoder(
        "linear", in_channels=CHANNELS, in_strides=STRIDES, spatial_dims=spatial_dims, **options
    )
    sizes = [size[-spatial_dims:] for size in SIZES]
    return decoder.double(), [3 * torch.randn(4, c, *s).double() + 1 for c, s in zip(CHANNELS, sizes, strict=True)]


def concatenated(features):
    size, mode = features[0].shape[2:], {2: "bilinear", 3: "trilinear"}[features[0].ndim - 2]
    return torch.cat([F.interpolate(x, size=size, mode=mode, align_corners=False) for x in features], 1)


def test_nothing_in_it_is_learned():
    assert list(decoder_and_features(2)[0].parameters()) == []


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_in_training_every_channel_has_mean_zero_and_deviation_one_over_the_batch(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims)
    out = decoder.train()(features).values
    assert out.shape == (4, sum(CHANNELS), *SIZES[0][-spatial_dims:])
    axes = [0, *range(2, out.ndim)]
    torch.testing.assert_close(out.mean(axes), torch.zeros(18).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(out.var(axes, correction=0), torch.ones(18).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_in_use_the_norm_before_the_resize_equals_the_norm_after_it(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims)
    for _ in range(3):
        decoder.train()(features)
    x, norm = concatenated(features), decoder.norm
    shape = (-1, *[1] * spatial_dims)
    expected = (x - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + norm.eps).sqrt()
    torch.testing.assert_close(decoder.eval()(features).values, expected)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_the_last_level_alone_stays_at_its_own_size(training):
    decoder, features = decoder_and_features(2, levels="last")
    out = decoder.train(training)(features).values
    assert (out.shape, decoder.out_channels, decoder.out_stride) == ((4, 6, 2, 2), 6, 16)
    model = densevit.create_segmentor("mit_b0", "linear", num_classes=3, decoder_options=dict(levels="last"))
    assert model(torch.randn(2, 3, 64, 64)).shape == (2, 3, 64, 64)


def test_gradients_reach_the_features_in_training():
    decoder, features = decoder_and_features(2)
    features = [feature.requires_grad_() for feature in features]
    decoder.train()(features).values.pow(3).sum().backward()
    assert all(feature.grad.abs().max() > 0 for feature in features)


def test_one_value_a_channel_cannot_be_normalised():
    decoder, features = decoder_and_features(2)
    with pytest.raises(ValueError, match="one value a channel"):
        decoder.train()([feature[:1, :, :1, :1] for feature in features])


def test_other_choices_of_levels_are_refused():
    with pytest.raises(ValueError, match="levels must be 'all' or 'last', got 'first'"):
        decoder_and_features(2, levels="first")


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_compiles_without_a_break_and_exports(spatial_dims):
    decoder, features = decoder_and_features(spatial_dims)
    decoder.eval()
    expected = decoder(features)
    torch.testing.assert_close(torch.compile(decoder, fullgraph=True, backend="eager")(features), expected)
    torch.testing.assert_close(torch.export.export(decoder, (features,)).module()(features), expected)
