"""UPerNet against mmsegmentation and transformers: the head, and whole Swin-UPerNet with its number of parameters."""

import pytest
import torch

import densevit
from densevit.weights import load_weights
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize
from tools.peers.uper import mmseg_swin_uper

pytestmark = pytest.mark.parity

SIZES = [(96, 160), (75, 93)]
# 150 classes, without the auxiliary head of training, which has 923 798 more (59.94 M for the first).
PARAMETERS = {"swin_tiny": 59_018_064, "swin_small": 80_335_968, "swin_base": 120_061_006}


def count(model):
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def mmseg_pair(tmp_path_factory):
    """A whole model of mmsegmentation, and ours with the checkpoint that it saved."""
    theirs = randomize(mmseg_swin_uper("swin_tiny"))
    path = tmp_path_factory.mktemp("mmseg") / "iter_160000.pth"
    torch.save(dict(state_dict=theirs.state_dict(), meta=dict(seed=0)), path)
    ours = densevit.create_segmentor("swin_tiny", "uper", num_classes=150).eval()
    report = load_weights(ours, path)
    assert (report.source, report.complete) == ("mmseg_swin", True)
    left = [name for name in report.ignored if not name.startswith("auxiliary_head.")]
    assert all(name.endswith("relative_position_index") for name in left)
    return theirs, ours


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_checkpoint_of_swin_upernet_gives_the_logits_that_it_gives_in_mmsegmentation(mmseg_pair, size):
    theirs, ours = mmseg_pair
    image = picture(*size)
    with torch.inference_mode():
        features, logits = theirs.extract_feat(image), theirs.encode_decode(image, [dict(img_shape=size)])
        assert largest_difference(ours.forward_logits(image), theirs.decode_head(features)) <= 1e-5
        assert largest_difference(ours(image), logits) <= 1e-5


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_as_many_as_in_the_config_of_mmsegmentation(name):
    with torch.device("meta"):
        ours = densevit.create_segmentor(name, "uper", num_classes=150)
    theirs = mmseg_swin_uper(name)
    assert count(ours) == count(theirs.backbone) + count(theirs.decode_head) == PARAMETERS[name]


@pytest.fixture(scope="module")
def transformers_pair():
    """UPerNet of transformers on its Swin-T, and ours with its weights."""
    transformers = import_peer("transformers")
    swin = transformers.SwinConfig(
        embed_dim=96,
        depths=[2, 2, 6, 2],
        num_heads=[3, 6, 12, 24],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = transformers.UperNetConfig(backbone_config=swin, num_labels=21, hidden_size=512, auxiliary_in_channels=384)
    theirs = randomize(transformers.UperNetForSemanticSegmentation(config))
    ours = densevit.create_segmentor("swin_tiny", "uper", num_classes=21)
    return theirs, copy_weights(theirs, ours, source="huggingface_swin_backbone")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_logits_equal_those_of_transformers(transformers_pair, size):
    theirs, ours = transformers_pair
    image = picture(*size)
    with torch.inference_mode():
        assert largest_difference(ours(image), theirs(image).logits) <= 1e-5


def test_in_double_precision_logits_are_equal_to_ten_digits(transformers_pair):
    theirs, ours = (model.double() for model in transformers_pair)
    image = picture(45, 61).double()
    try:
        with torch.inference_mode():
            assert largest_difference(ours(image), theirs(image).logits) <= 1e-10
    finally:
        theirs.float(), ours.float()
