"""Semantic FPN against mmsegmentation's neck and head, with the checkpoint names of the PVT release."""

import warnings

import pytest
import torch
from torch import nn

import densevit
from densevit.weights import to_ours
from tools.peers import import_mmseg
from tools.peers.common import largest_difference, randomize

pytestmark = pytest.mark.parity

CHANNELS, STRIDES = (64, 128, 320, 512), (4, 8, 16, 32)
NUM_CLASSES = 150


def mmseg_parts(dtype=torch.float32):
    """Neck and head of mmsegmentation's Semantic FPN as its configs build them, with batch norm of one process."""
    mmseg = import_mmseg()
    from mmengine.registry import DefaultScope

    neck = dict(type="FPN", in_channels=list(CHANNELS), out_channels=256, num_outs=4)
    head = dict(
        type="FPNHead",
        in_channels=[256] * 4,
        in_index=[0, 1, 2, 3],
        feature_strides=list(STRIDES),
        channels=128,
        dropout_ratio=0.1,
        num_classes=NUM_CLASSES,
        norm_cfg=dict(type="BN"),
    )
    with warnings.catch_warnings(), DefaultScope.overwrite_default_scope("mmseg"):
        warnings.simplefilter("ignore")
        parts = {"neck": mmseg.registry.MODELS.build(neck), "decode_head": mmseg.registry.MODELS.build(head)}
    return randomize(nn.ModuleDict(parts)).to(dtype)


def our_parts(theirs):
    """Our decoder and classifier with their weights, by the rows of the key map."""
    decoder = densevit.create_decoder("fpn", in_channels=CHANNELS, in_strides=STRIDES).eval()
    ours = nn.ModuleDict({"decoder": decoder, "head": nn.Conv2d(128, NUM_CLASSES, 1)})
    translation = to_ours(theirs.state_dict(), "whai362_pvt_v1")
    assert translation.unexpected == []
    ours.load_state_dict(translation.state)
    return ours.to(next(theirs.parameters()).dtype)


def features(*size, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(2, c, *(-(-s // stride) for s in size), generator=generator).to(dtype)
        for c, stride in zip(CHANNELS, STRIDES, strict=True)
    ]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["float32", "float64"]
)
@pytest.mark.parametrize("size", [(64, 64), (96, 160), (128, 32)], ids=str)
def test_logits_equal_those_of_mmsegmentation_where_its_doublings_meet_the_sizes_of_the_levels(size, dtype, tolerance):
    theirs = mmseg_parts(dtype)
    ours, maps = our_parts(theirs), features(*size, dtype=dtype)
    with torch.inference_mode():
        expected = theirs["decode_head"](theirs["neck"](maps))
        assert largest_difference(ours["decoder"](maps).classify(ours["head"]).logits(), expected) <= tolerance


@pytest.mark.parametrize("size", [(75, 93), (128, 61)], ids=str)
def test_the_pyramid_equals_that_of_mmsegmentation_at_every_size(size):
    theirs = mmseg_parts()
    ours, maps = our_parts(theirs), features(*size)
    with torch.inference_mode():
        levels = [level.values for level in ours["decoder"].forward_levels(maps)]
        for a, b in zip(levels[1:], theirs["neck"](maps)[1:], strict=True):
            assert largest_difference(a, b) <= 1e-5


def test_parameters_are_as_many_as_in_mmsegmentation():
    theirs = mmseg_parts()
    ours = our_parts(theirs)
    assert [sum(p.numel() for p in m.parameters()) for m in (ours, theirs)] == [4_266_646, 4_266_646]
