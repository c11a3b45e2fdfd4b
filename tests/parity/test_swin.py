"""Swin against transformers, timm, torchvision and mmsegmentation, and Swin UNETR's encoder against MONAI."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.swin import VARIANTS
from tools.peers import import_mmseg, import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize
from tools.peers.swin import huggingface_config, huggingface_pair

pytestmark = pytest.mark.parity

SIZES = [(224, 224), (248, 328), (160, 96), (250, 331)]


def differences(theirs, ours):
    assert len(theirs) == len(ours)
    return [largest_difference(a, b) for a, b in zip(ours, theirs, strict=True)]


@pytest.mark.parametrize(
    ("name", "window", "size"),
    [
        *(("swin_tiny", 7, size) for size in SIZES),
        *(("swin_tiny", 12, size) for size in [(160, 96), (250, 331)]),
        ("swin_small", 7, (160, 96)),
    ],
    ids=str,
)
def test_all_stages_equal_those_of_transformers(name, window, size):
    theirs, ours = huggingface_pair(name, window)
    with torch.inference_mode():
        assert max(differences(theirs(picture(*size)).feature_maps, ours(picture(*size)))) <= 1e-5


@pytest.mark.parametrize("name", ["swin_tiny"])
def test_in_double_precision_all_stages_are_equal_to_ten_digits(name):
    theirs, ours = (model.double() for model in huggingface_pair(name, 7))
    image = picture(75, 93).double()
    try:
        with torch.inference_mode():
            assert max(differences(theirs(image).feature_maps, ours(image))) <= 1e-10
    finally:
        theirs.float(), ours.float()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_has_as_many_parameters_as_in_transformers(name):
    with torch.device("meta"):
        theirs = import_peer("transformers").SwinBackbone(huggingface_config(name))
        ours = densevit.create_backbone(name)
    # The norm of its classifier is there too, and unused.
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in [*ours.parameters(), *_last(ours)])


def _last(backbone):
    return backbone.out_norms[-1].parameters()


@pytest.mark.parametrize("peer", ["timm", "torchvision"])
def test_the_last_map_of_a_classifier_equals_its_peer(peer):
    """At 224 pixels one window covers the last stage, which the release for classification does not shift."""
    if peer == "timm":
        theirs = randomize(import_peer("timm").create_model("swin_tiny_patch4_window7_224"))
        features = theirs.forward_features  # (B, H, W, C), normed
    else:
        import_peer("timm")  # makes torchvision importable
        theirs = randomize(import_peer("torchvision").models.swin_t())
        features = torch.nn.Sequential(theirs.features, theirs.norm)
    ours = densevit.create_backbone("swin_tiny", small_maps="no_shift")
    ours = copy_classifier(theirs, ours, source=peer)
    with torch.inference_mode():
        assert largest_difference(ours(picture(224, 224))[3], features(picture(224, 224)).movedim(-1, 1)) <= 1e-5
        shifted = copy_classifier(theirs, densevit.create_backbone("swin_tiny"), source=peer)
        assert largest_difference(shifted(picture(224, 224))[3], ours(picture(224, 224))[3]) > 1e-2


def copy_classifier(theirs, ours, *, source):
    """A classifier lacks the norms of the first three stages."""
    state = densevit.weights.to_ours(theirs.state_dict(), source, class_head=False).state
    own = {f"backbone.{name}": tensor for name, tensor in ours.state_dict().items()}
    assert {name.split(".")[2] for name in own.keys() - state.keys()} == {"0", "1", "2"}
    ours.load_state_dict({name.removeprefix("backbone."): tensor for name, tensor in (own | state).items()})
    return ours.eval()


@pytest.fixture(scope="module")
def mmseg_pair():
    mmseg = import_mmseg()
    from mmengine.registry import DefaultScope

    config = dict(type="mmseg.SwinTransformer", embed_dims=96, depths=[2, 2, 6, 2], num_heads=[3, 6, 12, 24])
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        theirs = mmseg.registry.MODELS.build(config | dict(window_size=7))
    randomize(theirs)
    return theirs, copy_weights(theirs, densevit.create_backbone("swin_tiny"), source="mmseg")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_all_stages_equal_those_of_mmsegmentation(mmseg_pair, size):
    theirs, ours = mmseg_pair
    with torch.inference_mode():
        assert max(differences(theirs(picture(*size)), ours(picture(*size)))) <= 1e-5


def monai_encoder(spatial_dims, merge_order):
    """MONAI's encoder of 12 channels; the legacy order is that of its releases before 1.5."""
    nets = import_peer("monai.networks.nets.swin_unetr")

    class LegacyMerging(nets.PatchMergingV2):
        def forward(self, x):
            x = F.pad(x, [0, 0] + [p for s in reversed(x.shape[1:-1]) for p in (0, s % 2)])
            offsets = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (0, 1, 0), (0, 0, 1), (1, 1, 1)]
            return self.reduction(self.norm(torch.cat([x[:, d::2, h::2, w::2] for d, h, w in offsets], -1)))

    downsample = dict(fixed="merging", v2="mergingv2", legacy=LegacyMerging)[merge_order]
    window, patch = (7,) * spatial_dims, (2,) * spatial_dims
    return nets.SwinTransformer(
        1, 12, window, patch, (2, 2, 2, 2), (3, 6, 12, 24), spatial_dims=spatial_dims, downsample=downsample
    )


@pytest.fixture(scope="module", params=[(3, "fixed"), (3, "legacy"), (3, "v2"), (2, "fixed"), (2, "v2")], ids=str)
def monai_pair(request):
    spatial_dims, merge_order = request.param
    theirs = randomize(monai_encoder(spatial_dims, merge_order))
    options = dict(in_channels=1, spatial_dims=spatial_dims, merge_order=merge_order)
    return theirs, copy_weights(theirs, densevit.create_backbone("swin_unetr_tiny", **options), source="monai")


# With stages smaller than, as large as and larger than the window. MONAI's whole model refuses the odd sizes.
MONAI_SIZES = {"whole": {2: (96, 160), 3: (32, 64, 32)}, "odd": {2: (75, 93), 3: (33, 50, 29)}}


@pytest.mark.parametrize("kind", MONAI_SIZES)
def test_all_levels_of_swin_unetr_equal_those_of_monai(monai_pair, kind):
    theirs, ours = monai_pair
    image = picture(*MONAI_SIZES[kind][ours.spatial_dims], channels=1)
    with torch.inference_mode():
        expected, features = theirs(image), ours(image)
    assert [tuple(f.shape) for f in features] == [tuple(f.shape) for f in expected]
    assert max(differences(expected, features)) <= 1e-5


def test_in_double_precision_swin_unetr_equals_monai_to_ten_digits(monai_pair):
    theirs, ours = (model.double() for model in monai_pair)
    image = picture(*(34, 40, 18)[-ours.spatial_dims :], channels=1).double()
    try:
        with torch.inference_mode():
            assert max(differences(theirs(image), ours(image))) <= 1e-10
    finally:
        theirs.float(), ours.float()


@pytest.mark.parametrize("merge_order", ["legacy", "v2"])
def test_another_order_of_merging_gives_another_result_with_the_same_weights(merge_order):
    theirs, image = randomize(monai_encoder(3, "fixed")), picture(32, 32, 32, channels=1)
    options = dict(in_channels=1, spatial_dims=3, merge_order=merge_order)
    ours = copy_weights(theirs, densevit.create_backbone("swin_unetr_tiny", **options), source="monai")
    with torch.inference_mode():
        first, *others = differences(theirs(image), ours(image))
    assert first <= 1e-5
    assert min(others) > 0.1
