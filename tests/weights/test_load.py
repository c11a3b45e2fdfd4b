"""load_weights: all or nothing, a report, and one sentence on what does not fit and how to mend it."""

import logging

import pytest
import torch

import densevit
from densevit.weights import LoadReport, describe, load_weights, save_weights, to_theirs
from tests.weights.common import backbone, equal, release, segformer, snapshot


@pytest.fixture
def whole(tmp_path):
    """A file of a whole SegFormer-B0 for 19 classes as its authors release it, and our model of the same weights."""
    model = segformer()
    torch.save({"state_dict": release(model, "nvlabs"), "meta": {}}, tmp_path / "segformer.pth")
    return tmp_path / "segformer.pth", model


@pytest.fixture
def imagenet(tmp_path):
    """A file of MiT-B0 trained on ImageNet as its authors release it, and our backbone of the same weights."""
    model = backbone()
    torch.save(release(model, "nvlabs"), tmp_path / "mit_b0.pth")
    return tmp_path / "mit_b0.pth", model


def refuses(model, path, message, **options):
    """Loading fails with this message, in one sentence, and leaves the model as it was."""
    before = snapshot(model)
    with pytest.raises(ValueError, match=message) as error:
        load_weights(model, path, **options)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    assert equal(before, model)


def test_a_released_model_fills_ours_and_the_report_says_so(whole):
    path, expected = whole
    model = segformer(seed=1)
    report = load_weights(model, path)
    assert equal(model, expected)
    assert report.complete
    assert report.source == "nvlabs"
    assert set(report.matched) == set(model.state_dict())
    assert report.ignored == ("decode_head.conv_seg.weight", "decode_head.conv_seg.bias")
    assert report.reshaped == (
        "decoder.fuse.weight (256, 1024) from decode_head.linear_fuse.conv.weight (256, 1024, 1, 1)",
    )
    count = len(model.state_dict())
    assert report.summary == (
        f"nvlabs: {count} of {count} tensors matched, "
        "0 missing, 0 mismatched, 0 unexpected, 2 ignored, 1 reshaped, 0 inflated, 0 fresh"
    )


def test_the_report_is_a_table_that_does_not_grow_without_bound():
    report = LoadReport(source="timm", matched=("a",), missing=tuple(f"m{i}" for i in range(100)), ignored=("head",))
    lines = str(report).splitlines()
    assert lines[0] == report.summary
    assert lines[0].startswith("timm: 1 of 101 tensors matched, 100 missing")
    assert "  missing     m0" in lines
    assert "  missing     ... and 92 more" in lines
    assert "  ignored     head" in lines
    assert len(lines) == 11


def test_a_backbone_takes_its_part_of_a_whole_model(whole):
    path, expected = whole
    model = backbone(seed=1)
    report = load_weights(model, path)
    assert equal(model, expected.backbone)
    assert "head.weight" in report.ignored


def test_a_released_backbone_loads_through_create_backbone_and_create_segmentor(imagenet):
    path, expected = imagenet
    assert equal(densevit.create_backbone("mit_b0", weights=path), expected)
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=5, backbone_options=dict(weights=str(path)))
    assert equal(model.backbone, expected)


def test_our_own_file_loads_in_two_and_three_dimensions(tmp_path):
    for spatial_dims in (2, 3):
        expected = segformer(spatial_dims=spatial_dims)
        save_weights(expected, tmp_path / "a.safetensors", config={})
        model = segformer(spatial_dims=spatial_dims, seed=1)
        assert load_weights(model, tmp_path / "a.safetensors").source == "densevit"
        assert equal(model, expected)
        save_weights(expected.backbone, tmp_path / "b.safetensors", config={})
        alone = backbone(spatial_dims=spatial_dims, seed=1)
        load_weights(alone, tmp_path / "b.safetensors")
        assert equal(alone, expected.backbone)


def test_half_precision_weights_fill_a_model_of_single_precision(tmp_path):
    expected = segformer()
    state = {name: t.half() if t.is_floating_point() else t for name, t in expected.state_dict().items()}
    save_weights(state, tmp_path / "a.safetensors", config={})
    model = segformer(seed=1)
    load_weights(model, tmp_path / "a.safetensors")
    assert {t.dtype for t in model.parameters()} == {torch.float32}
    assert torch.equal(model.head.weight, expected.head.weight.half().float())


def test_a_backbone_alone_does_not_fill_a_whole_model_unless_asked(imagenet, caplog):
    path, expected = imagenet
    model = segformer(seed=1)
    refuses(model, path, r"backbone only.*backbone_options=dict\(weights=.*strict=False")
    head = model.head.weight.clone()
    with caplog.at_level(logging.INFO, logger="densevit"):
        report = load_weights(model, path, strict=False)
    assert equal(model.backbone, expected)
    assert torch.equal(model.head.weight, head)
    assert "head.weight" in report.missing
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert report.summary in caplog.text


def test_a_complete_load_is_logged_in_one_line(whole, caplog):
    with caplog.at_level(logging.INFO, logger="densevit"):
        report = load_weights(segformer(), whole[0])
    assert [record.getMessage() for record in caplog.records] == [f"segformer.pth: {report.summary}"]


@pytest.mark.parametrize("name", ["mit_b1", "pvt_v2_b0"])
def test_a_checkpoint_of_another_model_is_named(imagenet, name):
    refuses(densevit.create_backbone(name), imagenet[0], f"this looks like mit_b0, the model is {name}")


@pytest.mark.parametrize(
    ("file", "model", "message"),
    [
        (("swin_tiny", {}), ("vit_tiny", {}), "this looks like swin_tiny, the model is vit_tiny"),
        (("vit_tiny", dict(taps=(5, 11))), ("pvt_v1_tiny", {}), "this looks like vit_tiny, the model is pvt_v1_tiny"),
        (("swin_tiny", dict(window_size=12)), ("swin_small", dict(window_size=3)), "like swin_tiny, .* is swin_small"),
        (("vit_tiny", dict(patch_size=32)), ("vit_tiny", {}), "has patch_size=32, the model's patch_size=16"),
        (("vit_tiny", {}), ("vit_tiny", dict(depth=6)), r"unexpected .*backbone\.stages"),
    ],
    ids=str,
)
def test_options_of_a_family_do_not_hide_its_name(file, model, message, tmp_path):
    save_weights(densevit.create_backbone(file[0], **file[1]), tmp_path / "a.safetensors", config={})
    refuses(densevit.create_backbone(model[0], **model[1]), tmp_path / "a.safetensors", message)


def test_a_checkpoint_of_another_rank_is_named(imagenet):
    refuses(backbone(spatial_dims=3), imagenet[0], "its weights are 2D, the model is 3D")


def test_pvt_v2_b5_takes_weights_of_mit_b5_whose_tensors_are_the_same():
    b5 = {"backbone." + name: t for name, t in densevit.create_backbone("mit_b5").state_dict().items()}
    assert describe(b5).backbones == ("mit_b5", "pvt_v2_b5")


def test_other_classes_need_a_new_head(whole):
    path, expected = whole
    model = segformer(num_classes=5, seed=1)
    refuses(model, path, r"it has 19 classes, the model 5 \(new_head=True beside the path")
    head = model.head.weight.clone()
    report = load_weights(model, path, new_head=True)
    assert report.fresh == ("head.weight", "head.bias")
    assert report.complete
    assert torch.equal(model.head.weight, head)
    assert equal(model.decoder, expected.decoder)


def test_other_channels_and_other_classes_are_named_together(whole):
    refuses(segformer(num_classes=5, in_channels=1), whole[0], "takes 3 input channels, the model 1 .* 19 classes")


@pytest.mark.parametrize("in_channels", [1, 2, 3, 5])
@pytest.mark.parametrize("how", ["sum", "tile"])
def test_adapted_channels_answer_a_grey_image_as_the_old_ones_did(whole, how, in_channels):
    path, expected = whole
    model = segformer(in_channels=in_channels, seed=1)
    if in_channels != 3:
        refuses(model, path, rf"takes 3 input channels, the model {in_channels} .*adapt_channels='sum' or 'tile'")
    report = load_weights(model, path, adapt_channels=how)
    stem, old = model.backbone.stages[0].downsample.proj.weight, expected.backbone.stages[0].downsample.proj.weight
    assert any("by " + how in remark for remark in report.reshaped) == (in_channels != 3)
    if how == "sum" or in_channels == 3:
        torch.testing.assert_close(stem.sum(1), old.sum(1))
    if how == "tile":
        for channel in range(in_channels):
            torch.testing.assert_close(stem[:, channel], old[:, channel % 3] * 3 / in_channels)
    assert torch.equal(model.head.weight, expected.head.weight)


def test_another_decoder_is_named(whole):
    model = densevit.create_segmentor("mit_b0", "fpn", num_classes=19)
    refuses(model, whole[0], "its decoder is all_mlp, the model's fpn; create the model with 'all_mlp'")


def test_the_keywords_of_load_weights_may_stand_for_the_path(whole):
    weights = dict(path=whole[0], new_head=True, source="nvlabs")
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=3, weights=weights)
    assert equal(model.decoder, whole[1].decoder)
    options = dict(weights=dict(path=whole[0], adapt_channels="tile"))
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=3, in_channels=6, backbone_options=options)
    assert equal(model.backbone.stages[3], whole[1].backbone.stages[3])
    with pytest.raises(TypeError, match="unexpected keyword argument 'inflated'"):
        densevit.create_backbone("mit_b0", weights=dict(path=whole[0], inflated="mean"))


def test_another_width_of_the_decoder_is_named(whole):
    model = segformer(decoder_options=dict(dim=64))
    refuses(model, whole[0], r"its decoder has dim=256, the model's dim=64 \(decoder_options=dict\(dim=256\)\)")


def test_another_form_of_the_decoder_is_named(whole, tmp_path):
    with_norms = segformer(decoder_options=dict(project_norm=True))
    refuses(with_norms, whole[0], r"its decoder has project_norm=False, .*options=dict\(project_norm=False\)")
    torch.save(to_theirs(with_norms.state_dict(), "mmseg"), tmp_path / "mmseg.pth")
    refuses(
        segformer(), tmp_path / "mmseg.pth", r"its decoder has project_norm=True, .*options=dict\(project_norm=True\)"
    )


def test_missing_and_unexpected_tensors_are_named_and_pass_without_strict(imagenet, tmp_path):
    path, expected = imagenet
    state = release(expected, "nvlabs")
    del state["norm4.weight"]
    state["extra"] = torch.ones(1)
    state["block1.0.norm1.weight"] = torch.ones(7)
    torch.save(state, path)
    model = backbone(seed=1)
    before = snapshot(model)
    refuses(
        model, path, r"1 missing \(backbone\.stages\.3\.norm\.weight\); 1 mismatched .*\(7,\).*; 1 unexpected \(extra\)"
    )
    report = load_weights(model, path, strict=False)
    assert report.missing == ("backbone.stages.3.norm.weight",)
    assert report.unexpected == ("extra",)
    assert len(report.mismatched) == 1
    assert torch.equal(model.stages[3].norm.weight, before["stages.3.norm.weight"])
    assert torch.equal(model.stages[0].blocks[0].norm1.weight, before["stages.0.blocks.0.norm1.weight"])
    assert torch.equal(model.stages[3].norm.bias, expected.stages[3].norm.bias)


def test_a_missing_count_of_batches_is_no_difference(whole):
    path, expected = whole
    state = {name: t for name, t in release(expected, "nvlabs").items() if not name.endswith("num_batches_tracked")}
    torch.save(state, path)
    assert load_weights(segformer(seed=1), path).complete


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(source="mmseg"), "none of its tensors has a name of 'mmseg_"),
        (dict(source="nvlab"), "did you mean nvlabs"),
        (dict(adapt_channels="mean"), "adapt_channels must be None, 'sum' or 'tile', got 'mean'"),
    ],
    ids=str,
)
def test_wrong_options_are_named(imagenet, options, message):
    model = backbone(seed=1)
    before = snapshot(model)
    with pytest.raises(ValueError, match=message):
        load_weights(model, imagenet[0], **options)
    assert equal(before, model)


def test_a_checkpoint_of_an_unknown_release_is_refused(tmp_path):
    torch.save({"layer1.0.conv1.weight": torch.ones(1)}, tmp_path / "resnet.pth")
    refuses(backbone(), tmp_path / "resnet.pth", "fit no key map; known sources")
