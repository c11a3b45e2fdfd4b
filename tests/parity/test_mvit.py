"""MViT against timm (v2 for images) and torchvision (v1 and v2 for video): every block, every stage."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

import densevit
from tools.peers import import_peer, import_torchvision_shim
from tools.peers.common import largest_difference, picture, randomize
from tools.peers.mvit import copy_mvit_weights, stages_of_timm, timm_pair

pytestmark = pytest.mark.parity

PARAMETERS = {  # of timm's classifiers of 1000 classes
    "mvit_v2_tiny": 24_173_320,
    "mvit_v2_small": 34_870_216,
    "mvit_v2_base": 51_472_744,
    "mvit_v2_large": 217_992_952,
}


def worst(features, expected):
    return max(largest_difference(a, b) for a, b in zip(features, expected, strict=True))


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_variant_has_as_many_parameters_as_published(name):
    with torch.device("meta"):
        ours = densevit.create_backbone(name)
    count = sum(p.numel() for p in ours.parameters())
    finer_norms = 2 * sum(ours.out_channels[:3])
    head = 1000 * (ours.out_channels[3] + 1)
    assert count - finer_norms + head == PARAMETERS[name]


@pytest.mark.parametrize(("name", "number"), [("mvit_v1_base", 36_610_672), ("mvit_v2_small", 34_537_744)])
def test_video_models_have_as_many_parameters_as_published(name, number):
    with torch.device("meta"):
        ours = densevit.create_backbone(name, spatial_dims=3, pyramid="video", class_token=True)
    count = sum(p.numel() for p in ours.parameters())
    assert count - 2 * sum(ours.out_channels[:3]) + 400 * 769 == number


@pytest.mark.parametrize("batch", [1, 2])
def test_all_stages_of_tiny_equal_those_of_timm_at_224(batch):
    theirs, ours = timm_pair("mvit_v2_tiny")
    image = torch.cat([picture(224, 224, seed=i) for i in range(batch)])
    with torch.inference_mode():
        assert worst(ours(image), stages_of_timm(theirs, ours, image)) <= 1e-5


@pytest.mark.parametrize(
    ("name", "depths"),
    [
        ("mvit_v2_tiny", None),
        ("mvit_v2_base", (2, 2, 3, 2)),
        ("mvit_v2_large", (2, 2, 2, 2)),
        ("mvit_v2_small_cls", (1, 2, 3, 2)),
    ],
)
def test_all_stages_equal_those_of_timm_in_double_precision(name, depths):
    theirs, ours = (model.double() for model in timm_pair(name, depths=depths, image_size=96))
    image = picture(96, 96).double()
    with torch.inference_mode():
        assert worst(ours(image), stages_of_timm(theirs, ours, image)) <= 1e-10


def test_tables_made_for_224_are_resized_to_other_images_as_timm_resizes_them_on_loading():
    theirs, ours = timm_pair("mvit_v2_tiny")
    smaller = import_peer("timm").create_model("mvitv2_tiny", img_size=160, num_classes=0).eval()
    resize = import_peer("timm.models.mvitv2").checkpoint_filter_fn
    smaller.load_state_dict(resize(theirs.state_dict(), smaller))
    image = picture(160, 160)
    with torch.inference_mode():
        assert worst(ours(image), stages_of_timm(smaller, ours, image)) <= 1e-5


@pytest.fixture(scope="module", params=["mvit_v1_b", "mvit_v2_s"])
def video_pair(request):
    """Torchvision's video model and ours, both made for (16, 224, 224)."""
    import_torchvision_shim()
    theirs = randomize(getattr(import_peer("torchvision.models.video"), request.param)())
    name = {"mvit_v1_b": "mvit_v1_base", "mvit_v2_s": "mvit_v2_small"}[request.param]
    ours = densevit.create_backbone(name, spatial_dims=3, pyramid="video", class_token=True)
    return theirs, copy_mvit_weights(theirs.state_dict(), ours, source="torchvision")


def fitted(theirs, size):
    """A copy of torchvision's model for videos of another size: absolute positions resized linearly."""
    theirs = deepcopy(theirs)
    frames, plane = -(-size[0] // 2), (-(-size[1] // 4), -(-size[2] // 4))
    encoding = theirs.pos_encoding
    encoding.temporal_size, encoding.spatial_size = frames, plane
    if encoding.temporal_pos is not None:
        table = encoding.spatial_pos.detach().T.unflatten(1, (56, 56))[None]
        resized = F.interpolate(table, size=plane, mode="bilinear", align_corners=False)[0].flatten(1).T
        encoding.spatial_pos = torch.nn.Parameter(resized)
        line = F.interpolate(encoding.temporal_pos.detach().T[None], size=frames, mode="linear", align_corners=False)
        encoding.temporal_pos = torch.nn.Parameter(line[0].T.contiguous())
    return theirs


def largest_relative_difference(theirs, ours, video):
    """Over the tokens of all blocks, in units of their standard deviation."""
    expected, found = [], []
    hooks = [b.register_forward_hook(lambda module, inputs, output: expected.append(output[0])) for b in theirs.blocks]
    blocks = [block for stage in ours.stages for block in stage.blocks]
    hooks += [b.register_forward_hook(lambda module, inputs, output: found.append(output.values)) for b in blocks]
    with torch.inference_mode():
        theirs(video), ours(video)
    for hook in hooks:
        hook.remove()
    assert len(expected) == len(found) == 16
    return max(largest_difference(a, b) / b.std().item() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("size", [(4, 64, 64), (5, 53, 75), (2, 9, 130)], ids=str)
def test_all_blocks_equal_those_of_torchvision_at_any_size(video_pair, size):
    theirs, ours = video_pair
    assert largest_relative_difference(fitted(theirs, size), ours, picture(*size)) <= 1e-5


def test_the_logits_of_a_video_equal_those_of_torchvision(video_pair, tmp_path):
    theirs, _ = video_pair
    torch.save(theirs.state_dict(), tmp_path / "video.pth")
    name = "mvit_v1_base" if theirs.pos_encoding.temporal_pos is not None else "mvit_v2_small"
    options = dict(spatial_dims=3, pyramid="video", class_token=True, weights=tmp_path / "video.pth")
    ours = densevit.create_classifier(name, num_classes=400, **options).eval()
    video = picture(4, 64, 64)
    with torch.inference_mode():
        expected = fitted(theirs, (4, 64, 64))(video)
        assert largest_difference(ours(video), expected) <= 1e-5 * expected.abs().max()


def test_in_double_precision_all_blocks_are_equal_to_ten_digits(video_pair):
    size, (theirs, ours) = (3, 37, 50), (deepcopy(model).double() for model in video_pair)
    assert largest_relative_difference(fitted(theirs, size), ours, picture(*size).double()) <= 1e-10


@pytest.mark.slow
def test_all_blocks_equal_those_of_torchvision_at_the_published_size(video_pair):
    theirs, ours = video_pair
    assert largest_relative_difference(theirs, ours, picture(16, 224, 224)) <= 1e-5
