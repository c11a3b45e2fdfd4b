"""SegFormer, whole: against transformers and mmsegmentation, and the folded head against the formula it folds."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from tools.peers.common import (
    SEGFORMERS,
    copy_weights,
    largest_difference,
    mmseg_segformer,
    picture,
    randomize,
    transformers_segformer,
)

SIZES = [(96, 160), (75, 93)]


@pytest.fixture(scope="module", params=SEGFORMERS)
def pair(request):
    """The model of transformers and ours with the same random weights."""
    theirs = randomize(transformers_segformer(request.param, num_classes=19))
    ours = densevit.create_segmentor(request.param, "all_mlp", num_classes=19)
    return theirs, copy_weights(theirs, ours, source="huggingface")


@pytest.fixture(scope="module")
def mmseg_pair():
    """The model of mmsegmentation and ours, in the form with a norm after each projection."""
    theirs = randomize(mmseg_segformer(num_classes=19))
    for patch_embed, blocks, _ in theirs.backbone.layers:  # 1e-6 there, 1e-5 in the release
        patch_embed.norm.eps = 1e-5
        for block in blocks:
            if hasattr(block.attn, "norm"):
                block.attn.norm.eps = 1e-5
    ours = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=19, decoder_options=dict(project_norm=True))
    return theirs, copy_weights(theirs, ours, source="mmseg")


@pytest.mark.parity
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_logits_equal_those_of_transformers(pair, size):
    theirs, ours = pair
    image = picture(*size)
    with torch.inference_mode():
        expected, logits = theirs(image).logits, ours.forward_logits(image)
        assert largest_difference(logits, expected) <= 1e-5
        expected = F.interpolate(expected, size=size, mode="bilinear", align_corners=False)
        assert largest_difference(ours(image), expected) <= 1e-5


@pytest.mark.parity
def test_in_double_precision_logits_are_equal_to_ten_digits(pair):
    theirs, ours = (model.double() for model in pair)
    image = picture(45, 61).double()
    try:
        with torch.inference_mode():
            assert largest_difference(ours.forward_logits(image), theirs(image).logits) <= 1e-10
    finally:
        theirs.float(), ours.float()


@pytest.mark.parity
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_features_and_logits_equal_those_of_mmsegmentation(mmseg_pair, size):
    theirs, ours = mmseg_pair
    image = picture(*size)
    with torch.inference_mode():
        expected = theirs.backbone(image)
        for a, b in zip(ours.forward_features(image), expected, strict=True):
            assert largest_difference(a, b) <= 1e-5
        assert largest_difference(ours.forward_logits(image), theirs.decode_head(expected)) <= 1e-5


# The head as the paper writes it, and the decoder that folds it.


def unfolded(decoder, features):
    """fuse(concat(up(project(x)))), coarsest level first, then norm and ReLU."""
    size = features[0].shape[2:]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    maps = []
    for i, (feature, project) in enumerate(zip(features, decoder.project, strict=True)):
        level = project(feature.movedim(1, -1)).movedim(-1, 1)
        if decoder.project_norms is not None:
            level = F.relu(decoder.project_norms[i](level))
        maps.append(F.interpolate(level, size=size, mode=mode, align_corners=False))
    fused = F.linear(torch.cat(maps[::-1], 1).movedim(1, -1), decoder.fuse.weight).movedim(-1, 1)
    return F.relu(decoder.norm(fused))


def decoder_and_features(spatial_dims, *, project_norm):
    """A decoder of random weights without dropout, and maps whose sizes are not multiples of each other."""
    decoder = densevit.create_decoder(
        "all_mlp",
        in_channels=(5, 7, 8, 6),
        in_strides=(4, 8, 16, 32),
        spatial_dims=spatial_dims,
        dim=16,
        dropout=0.0,
        project_norm=project_norm,
    )
    generator = torch.Generator().manual_seed(1)
    sizes = [
        (13, 11, 6)[-spatial_dims:],
        (7, 6, 3)[-spatial_dims:],
        (4, 3, 2)[-spatial_dims:],
        (2, 2, 1)[-spatial_dims:],
    ]
    features = [
        torch.randn(2, channels, *size, generator=generator, dtype=torch.float64).requires_grad_()
        for channels, size in zip((5, 7, 8, 6), sizes, strict=True)
    ]
    return randomize(decoder).double(), features


def outcome(decoder, forward, features):
    """The map, every gradient, and the running statistics that a forward and backward pass leave."""
    before = {name: buffer.clone() for name, buffer in decoder.named_buffers()}
    out = forward(features)
    weighting = torch.randn(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    inputs = [*features, *decoder.parameters()]
    gradients = torch.autograd.grad((out * weighting).sum(), inputs)
    after = [buffer.clone() for buffer in decoder.buffers()]
    decoder.load_state_dict(before, strict=False)
    return [out.detach(), *gradients, *after]


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("project_norm", [False, True], ids=["official form", "form with norms"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_folded_head_has_the_values_and_gradients_of_the_unfolded_formula(spatial_dims, project_norm, training):
    decoder, features = decoder_and_features(spatial_dims, project_norm=project_norm)
    decoder.train(training)
    expected = outcome(decoder, lambda maps: unfolded(decoder, maps), features)
    for a, b in zip(outcome(decoder, lambda maps: decoder(maps).values, features), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


# Parameters, counted on the authors' own classes.

BACKBONES = {
    "mit_b0": 3_319_392,
    "mit_b1": 13_151_424,
    "mit_b2": 24_196_288,
    "mit_b3": 44_072_128,
    "mit_b4": 60_842_688,
    "mit_b5": 81_443_008,
}
WHOLE = {  # with 19 classes, with 150
    "mit_b0": (3_719_027, 3_752_694),
    "mit_b1": (13_682_131, 13_715_798),
    "mit_b2": (27_361_235, 27_461_974),
    "mit_b3": (47_237_075, 47_337_814),
    "mit_b4": (64_007_635, 64_108_374),
    "mit_b5": (84_607_955, 84_708_694),
}
CLASSIFIERS = {  # with a linear layer for 1000 classes behind the last map
    "pvt_v2_b0": 3_666_760,
    "pvt_v2_b1": 14_009_000,
    "pvt_v2_b2": 25_362_856,
    "pvt_v2_b2_li": 22_553_512,
    "pvt_v2_b3": 45_238_696,
    "pvt_v2_b4": 62_556_072,
    "pvt_v2_b5": 81_956_008,
}


def count(build):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build().parameters())


@pytest.mark.parametrize(("name", "expected"), BACKBONES.items(), ids=BACKBONES)
def test_a_mit_backbone_has_the_published_number_of_parameters(name, expected):
    assert count(lambda: densevit.create_backbone(name)) == expected


@pytest.mark.parametrize(("name", "expected"), WHOLE.items(), ids=WHOLE)
def test_a_segformer_has_the_published_number_of_parameters(name, expected):
    counts = [count(lambda k=k: densevit.create_segmentor(name, "all_mlp", num_classes=k)) for k in (19, 150)]
    assert tuple(counts) == expected


@pytest.mark.parametrize(("name", "expected"), CLASSIFIERS.items(), ids=CLASSIFIERS)
def test_a_pvt_v2_backbone_has_the_published_number_of_parameters_without_the_classifier(name, expected):
    with torch.device("meta"):
        dim = densevit.create_backbone(name).out_channels[-1]
    assert count(lambda: densevit.create_backbone(name)) + 1000 * (dim + 1) == expected


@pytest.mark.parametrize(("name", "expected"), [("mit_b0", 3_720_051), ("mit_b2", 24_728_019), ("mit_b5", 81_974_739)])
def test_the_form_with_norms_has_the_number_of_parameters_of_mmsegmentation(name, expected):
    options = dict(project_norm=True, dim=256)
    assert (
        count(lambda: densevit.create_segmentor(name, "all_mlp", num_classes=19, decoder_options=options)) == expected
    )
