"""Checkpoints of nnU-Net's Primus load whole, and those of another version are refused."""

import numpy as np
import pytest
import torch

import densevit
from densevit.weights import describe, load_weights, to_theirs

SMALL = dict(dim=72, depth=4, num_heads=2, image_size=(16, 24, 16), stem_dims=(4, 8, 8, 16))


def primus(name, **options):
    shared = dict(num_classes=4, spatial_dims=3, in_channels=1)
    return densevit.create_segmentor(name, "patch_decode", **shared, backbone_options=options)


def as_nnunet_saves(model, source, path):
    """Weights under their names beside what else such a file holds, convolutions of the stem under both names."""
    theirs = to_theirs(model.state_dict(), source)
    first = "down_projection.stem.blocks.0.conv1"
    if f"{first}.conv.weight" in theirs:
        theirs[f"{first}.all_modules.0.weight"] = theirs[f"{first}.conv.weight"]
    theirs["mask_token"] = torch.zeros(1, 1, 72)
    rest = dict(optimizer_state={}, logging=dict(mean_fg_dice=[0.5]), _best_ema=np.float64(0.5), current_epoch=3)
    torch.save(dict(network_weights=theirs, init_args=dict(plans={}, fold=0), **rest), path)


def test_a_checkpoint_of_nnunet_fills_backbone_and_decoder(tmp_path):
    trained, model = (primus("primus_v3_small", **SMALL) for _ in range(2))
    as_nnunet_saves(trained, "nnunet_primus_v2", tmp_path / "checkpoint_final.pth")
    report = load_weights(model, tmp_path / "checkpoint_final.pth")
    assert (report.source, report.complete) == ("nnunet_primus_v2", True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name


def test_input_channels_are_told_of_models_with_patches_and_with_a_stem():
    with torch.device("meta"):
        assert [describe(primus(name).state_dict()).in_channels for name in ("primus_small", "primus_v2_small")] == [
            1,
            1,
        ]
        assert describe(primus("primus_v2_base").state_dict()).backbones == ("primus_v2_base",)


def test_a_checkpoint_of_another_version_is_one_sentence(tmp_path):
    as_nnunet_saves(primus("primus_v3_small", **SMALL), "nnunet_primus_v2", tmp_path / "checkpoint_final.pth")
    with pytest.raises(ValueError, match=r"checkpoint_final\.pth does not fit this model"):
        load_weights(primus("primus_small", dim=72, depth=4, num_heads=2), tmp_path / "checkpoint_final.pth")
