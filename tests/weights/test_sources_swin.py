"""Key maps of Swin: released names, files that peers write, the order in which patches are merged."""

import warnings

import pytest
import torch
from torch import nn

import densevit
from densevit.weights import guess_source, load_weights, to_ours, to_theirs
from tests.weights.common import backbone, equal, snapshot
from tools.peers import import_mmseg, import_peer
from tools.peers.common import randomize

# The norms of levels that a classifier lacks.
FRESH = tuple(f"backbone.out_norms.{i}.{part}" for i in (0, 1, 2) for part in ("weight", "bias"))
SMALL = dict(dim=32, depths=(1, 2, 1, 1))


def small(name="swin_tiny", **options):
    return backbone(name, **(SMALL if name == "swin_tiny" else {}) | options)


def whole():
    return randomize(
        densevit.create_segmentor(
            "swin_tiny", "uper", num_classes=5, backbone_options=SMALL, decoder_options=dict(dim=8)
        )
    )


@pytest.mark.parametrize("source", ["microsoft_swin_upernet", "huggingface_swin_backbone", "mmseg_swin"])
def test_a_dense_release_holds_every_bit_of_the_whole_model(source):
    model = whole()
    theirs = to_theirs(model.state_dict(), source)
    assert guess_source(theirs) == source
    translation = to_ours(theirs, source)
    assert (translation.unexpected, equal(translation.state, model)) == ([], True)


@pytest.mark.parametrize("source", ["microsoft_swin", "timm_swin", "torchvision_swin", "huggingface_swin"])
def test_a_classifier_has_all_of_a_backbone_but_the_norms_of_three_levels(source, tmp_path):
    model, target = small(), small(seed=1)
    theirs = to_theirs(model.state_dict(), source)
    last = {"huggingface_swin": "layernorm.weight"}.get(source, "norm.weight")
    assert torch.equal(theirs[last], model.out_norms[3].weight)
    torch.save(theirs, tmp_path / "classifier.pth")
    before = snapshot(target)
    report = load_weights(target, tmp_path / "classifier.pth")
    assert (report.source, report.complete, report.fresh) == (source, True, FRESH)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, (before if f"backbone.{name}" in FRESH else model.state_dict())[name])


def test_the_released_names_are_those_of_the_authors():
    expected = {
        "patch_embed.proj.weight": (32, 3, 4, 4),
        "patch_embed.norm.bias": (32,),
        "layers.0.blocks.0.norm1.weight": (32,),
        "layers.1.blocks.1.attn.qkv.weight": (192, 64),
        "layers.1.blocks.1.attn.relative_position_bias_table": (169, 2),
        "layers.2.blocks.0.attn.proj.bias": (128,),
        "layers.3.blocks.0.mlp.fc1.weight": (1024, 256),
        "layers.3.blocks.0.mlp.fc2.weight": (256, 1024),
        "layers.0.downsample.norm.weight": (128,),
        "layers.2.downsample.reduction.weight": (256, 512),
    }
    classifier = to_theirs(small().state_dict(), "microsoft_swin")
    dense = to_theirs(small().state_dict(), "microsoft_swin_upernet")
    for theirs in (classifier, dense):
        assert {name: tuple(theirs[name].shape) for name in expected} == expected
        assert not any(name.startswith("layers.3.downsample.") for name in theirs)
    assert classifier.keys() - dense.keys() == {"norm.weight", "norm.bias"}
    assert dense.keys() - classifier.keys() == {f"norm{i}.{part}" for i in range(4) for part in ("weight", "bias")}


def test_buffers_and_heads_of_a_release_are_left_out(tmp_path):
    model = small()
    theirs = to_theirs(model.state_dict(), "microsoft_swin_upernet")
    beside = ("layers.0.blocks.0.attn.relative_position_index", "layers.0.blocks.1.attn_mask")
    beside += ("auxiliary_head.conv_seg.weight",)
    theirs = {f"backbone.{name}": tensor for name, tensor in theirs.items()}
    theirs |= {name if name.startswith("aux") else f"backbone.{name}": torch.zeros(3) for name in beside}
    torch.save(dict(state_dict=theirs), tmp_path / "upernet.pth")
    report = load_weights(target := small(seed=1), tmp_path / "upernet.pth")
    assert (report.complete, report.ignored, equal(target, model)) == (True, beside, True)


def test_mmsegmentation_stacks_merged_patches_channel_by_channel():
    theirs = to_theirs(small().state_dict(), "mmseg_swin")
    ours, x = small().stages[1].downsample, torch.randn(1, 32, 6, 4)
    stacked = nn.Unfold(kernel_size=2, stride=2)(x).transpose(1, 2)  # (B, N, 4 C)
    weights = [theirs[f"stages.0.downsample.norm.{part}"] for part in ("weight", "bias")]
    normed = nn.functional.layer_norm(stacked, (128,), *weights)
    expected = normed @ theirs["stages.0.downsample.reduction.weight"].T
    torch.testing.assert_close(ours(x.movedim(1, -1)).flatten(1, 2), expected)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_swin_unetr_keeps_its_bits_and_its_published_encoder_is_known(spatial_dims, tmp_path):
    options = dict(spatial_dims=spatial_dims, in_channels=1, merge_order="legacy")
    model, target = small("swin_unetr_tiny", **options), small("swin_unetr_tiny", seed=1, **options)
    theirs = to_theirs(model.state_dict(), "monai_swin_unetr")
    assert {"layers1.0.blocks.0.mlp.linear1.weight", "layers4.0.downsample.reduction.weight"} < theirs.keys()
    # The self-supervised encoder was saved in parallel training, with other names in the MLP.
    alone = {f"module.{name}".replace(".linear", ".fc"): tensor for name, tensor in theirs.items()}
    torch.save(dict(state_dict=alone), tmp_path / "encoder.pt")
    report = load_weights(target, tmp_path / "encoder.pt")
    assert (report.source, report.complete, equal(target, model)) == ("monai_legacy_swin_unetr", True, True)
    assert report.remarks == ()


# The names are those of the peers' own classes.


@pytest.mark.parity
@pytest.mark.parametrize("kind", ["SwinBackbone", "SwinForImageClassification"])
def test_transformers_writes_files_that_load(kind, tmp_path):
    transformers = import_peer("transformers")
    options = dict(embed_dim=32, depths=[1, 2, 1, 1], num_heads=[1, 2, 4, 8])
    config = transformers.SwinConfig(**options, out_features=[f"stage{i}" for i in (1, 2, 3, 4)])
    theirs = randomize(getattr(transformers, kind)(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs.save_pretrained(tmp_path)
    model = small()
    report = load_weights(model, tmp_path / "model.safetensors")
    dense = kind == "SwinBackbone"
    assert report.source == ("huggingface_swin_backbone" if dense else "huggingface_swin")
    assert (report.complete, report.fresh) == (True, () if dense else FRESH)
    assert report.ignored == (
        ("layernorm.bias", "layernorm.weight") if dense else ("classifier.bias", "classifier.weight")
    )
    in_memory = to_ours(theirs.state_dict(), "huggingface", class_head=False).state  # names of the modules in version 5
    assert all(torch.equal(model.state_dict()[name.removeprefix("backbone.")], t) for name, t in in_memory.items())


@pytest.mark.parity
@pytest.mark.parametrize("features_only", [False, True])
def test_timm_writes_files_that_load(features_only, tmp_path):
    timm = import_peer("timm")
    options = dict(embed_dim=32, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), features_only=features_only)
    torch.save(timm.create_model("swin_tiny_patch4_window7_224", **options).state_dict(), tmp_path / "swin.pth")
    report = load_weights(small(), tmp_path / "swin.pth")
    last = tuple(f"backbone.out_norms.3.{part}" for part in ("weight", "bias"))
    assert (report.source, report.complete) == ("timm_swin", True)
    assert report.fresh == (FRESH + last if features_only else FRESH)


@pytest.mark.parity
def test_the_authors_names_are_those_that_timm_converts():
    timm = import_peer("timm")
    options = dict(embed_dim=32, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), num_classes=0)
    theirs = timm.create_model("swin_tiny_patch4_window7_224", **options)
    released = to_theirs(small().state_dict(), "microsoft_swin")
    filtered = import_peer("timm.models.swin_transformer").checkpoint_filter_fn(released, theirs)
    assert equal(filtered, to_theirs(small().state_dict(), "timm_swin"))


@pytest.mark.parity
def test_a_translated_backbone_loads_into_torchvision_and_mmsegmentation():
    import_peer("timm")  # makes torchvision importable
    swin = import_peer("torchvision.models.swin_transformer").SwinTransformer
    theirs = swin([4, 4], 32, [1, 2, 1, 1], [1, 2, 4, 8], [7, 7], num_classes=1)
    missing, unexpected = theirs.load_state_dict(to_theirs(small().state_dict(), "torchvision"), strict=False)
    assert unexpected == []
    assert {name for name in missing if not name.endswith("relative_position_index")} == {"head.weight", "head.bias"}

    mmseg = import_mmseg().models.backbones.SwinTransformer
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = mmseg(embed_dims=32, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8))
    missing, unexpected = theirs.load_state_dict(to_theirs(small().state_dict(), "mmseg_swin"), strict=False)
    assert (unexpected, [name for name in missing if not name.endswith("relative_position_index")]) == ([], [])
