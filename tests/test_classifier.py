"""A classifier is a backbone with the head of its paper."""

import pytest
import torch

import densevit
from densevit.weights import load_weights, save_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import picture, randomize

VIT = dict(dim=24, num_heads=3, depth=4, image_size=64)
SWIN = dict(dim=32, depths=(1, 1, 1, 1))
# Of 1000 classes, and 400 of video, as published.
PARAMETERS = {
    ("deit_tiny", 1000): 5_717_416,
    ("deit_small", 1000): 22_050_664,
    ("deit_base", 1000): 86_567_656,
    ("deit_base_384", 1000): 86_859_496,
    ("deit_tiny_distilled", 1000): 5_910_800,
    ("deit_small_distilled", 1000): 22_436_432,
    ("deit_base_distilled", 1000): 87_338_192,
    ("deit_base_distilled_384", 1000): 87_630_032,
    ("vit_tiny", 1000): 5_717_416,
    ("vit_small", 1000): 22_050_664,
    ("vit_base", 1000): 86_567_656,
    ("vit_large", 1000): 304_326_632,
    ("vit_huge", 1000): 632_045_800,
    ("pvt_v1_tiny", 1000): 13_229_288,
    ("pvt_v1_small", 1000): 24_485_864,
    ("pvt_v1_medium", 1000): 44_208_104,
    ("pvt_v1_large", 1000): 61_369_320,
    ("pvt_v2_b0", 1000): 3_666_760,
    ("pvt_v2_b1", 1000): 14_009_000,
    ("pvt_v2_b2", 1000): 25_362_856,
    ("pvt_v2_b2_li", 1000): 22_553_512,
    ("pvt_v2_b3", 1000): 45_238_696,
    ("pvt_v2_b4", 1000): 62_556_072,
    ("pvt_v2_b5", 1000): 81_956_008,
    ("swin_tiny", 1000): 28_288_354,
    ("swin_small", 1000): 49_606_258,
    ("swin_base", 1000): 87_768_224,
    ("swin_large", 1000): 196_532_476,
    ("mvit_v2_tiny", 1000): 24_173_320,
    ("mvit_v2_small", 1000): 34_870_216,
    ("mvit_v2_base", 1000): 51_472_744,
    ("mvit_v2_large", 1000): 217_992_952,
    ("mvit_v1_base", 400): 36_610_672,
    ("mvit_v2_small", 400): 34_537_744,
}


def classifier(name, *, num_classes=5, seed=0, **options):
    return randomize(densevit.create_classifier(name, num_classes=num_classes, **options), seed=seed)


def segmentor(name, *, num_classes=5, **options):
    return randomize(densevit.create_segmentor(name, "linear", num_classes=num_classes, backbone_options=options))


@pytest.fixture
def saved(tmp_path):
    """Writes a model in our own form."""

    def save(model):
        save_weights(model, tmp_path / "model.safetensors", config={})
        return tmp_path / "model.safetensors"

    return save


@pytest.mark.parametrize(("name", "num_classes"), PARAMETERS)
def test_a_variant_has_as_many_parameters_as_published(name, num_classes):
    video = dict(spatial_dims=3, pyramid="video", class_token=True) if num_classes == 400 else {}
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=num_classes, **video)
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name, num_classes]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny", VIT),
        ("deit_tiny_distilled", VIT),
        ("swin_tiny", SWIN),
        ("pvt_v1_tiny", dict(depths=(1, 1, 1, 1), image_size=32)),
        ("mit_b0", {}),
        ("mvit_v2_tiny", dict(depths=(1, 1, 1, 1))),
    ],
)
def test_a_classifier_starts_a_backbone_and_a_segmentor_which_leave_its_head_aside(name, options, saved):
    model = classifier(name, **options)
    path = saved(model)
    own = {key: tensor for key, tensor in model.backbone.state_dict().items() if "cls_token" not in key}
    for dense in (densevit.create_backbone(name, **options), segmentor(name, **options).backbone):
        report = load_weights(dense, path)
        assert report.complete
        assert all(key.startswith("class_head.") or "token" in key for key in report.ignored)
        assert all("out_norms" in key for key in report.fresh)
        state = dense.state_dict()
        assert all(torch.equal(state[key], own[key]) for key in state.keys() & own.keys() if "pos_embed" not in key)


def test_a_segmentor_starts_a_classifier_only_where_a_new_head_is_asked_for(saved):
    path, model = saved(segmentor("swin_tiny", **SWIN)), classifier("swin_tiny", num_classes=7, **SWIN)
    with pytest.raises(
        ValueError, match="it holds a segmentor, and no classifier; new_head=True beside the path keeps"
    ):
        load_weights(model, path)
    head = {name: tensor.clone() for name, tensor in model.class_head.state_dict().items()}
    report = load_weights(model, path, new_head=True)
    assert (report.complete, report.fresh) == (True, ("class_head.fc.weight", "class_head.fc.bias"))
    assert equal(head, model.class_head.state_dict())
    assert "head.weight" in report.ignored
    assert "backbone.out_norms.0.weight" in report.ignored


def test_a_backbone_alone_starts_a_classifier_with_a_new_head(saved):
    path, model = saved(densevit.create_backbone("mit_b0")), classifier("mit_b0")
    with pytest.raises(ValueError, match="it holds a backbone only, and no classifier; new_head=True"):
        load_weights(model, path)
    assert load_weights(model, path, new_head=True).complete


def test_a_classifier_of_other_classes_or_of_another_head_needs_a_new_head(saved):
    path = saved(classifier("deit_tiny", num_classes=10, **VIT))
    with pytest.raises(ValueError, match=r"it has 10 classes, the model 5 .new_head=True beside the path"):
        densevit.create_classifier("deit_tiny", num_classes=5, weights=path, **VIT)
    with pytest.raises(
        ValueError, match=r"its class head is pooled, the model's map .create the classifier with head="
    ):
        densevit.create_classifier("deit_tiny", num_classes=10, head="map", weights=path, **VIT)
    with pytest.raises(ValueError, match="its class head is pooled, the model's distilled"):
        densevit.create_classifier("deit_tiny_distilled", num_classes=10, weights=path, **VIT)
    model = densevit.create_classifier("deit_tiny", num_classes=5, weights=dict(path=path, new_head=True), **VIT)
    ((_, report),) = model.load_reports
    assert report.fresh == ("class_head.fc.weight", "class_head.fc.bias")


def test_a_classifier_is_saved_and_loaded_again_bit_by_bit(saved):
    model = classifier("deit_tiny_distilled", **VIT)
    again = densevit.create_classifier("deit_tiny_distilled", num_classes=5, weights=saved(model), **VIT)
    assert equal(model, again)


def test_a_distilled_classifier_gives_the_mean_of_the_logits_of_its_two_tokens():
    model = classifier("deit_tiny_distilled", **VIT)
    features = model.forward_features(picture(64, 96))
    of_class, of_distillation = model.class_head.pair(features)
    torch.testing.assert_close(of_class, model.class_head.fc(features.class_token))
    torch.testing.assert_close(of_distillation, model.class_head.fc_dist(features.distillation_token))
    torch.testing.assert_close(model(picture(64, 96)), (of_class + of_distillation) / 2)


@pytest.mark.parametrize("head", [None, "pooled", "mean", "map"])
@pytest.mark.parametrize(
    ("name", "size"), [("mit_b0", (64, 65)), ("vit_tiny", (16, 48, 33)), ("swin_tiny", (33, 64, 40))]
)
def test_pictures_and_volumes_are_classified_by_any_head(name, size, head):
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=5, head=head, spatial_dims=len(size), in_channels=1)
        assert model(torch.empty(2, 1, *size)).shape == (2, 5)


def test_every_parameter_of_a_classifier_learns():
    for name, options in (("swin_tiny", SWIN), ("deit_tiny_distilled", VIT), ("deit_tiny", dict(VIT, head="map"))):
        model = densevit.create_classifier(name, num_classes=5, **options)
        model(picture(64, 64)).square().sum().backward()
        idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
        assert idle == []


def test_attention_pooling_gives_a_mean_of_values_where_all_tokens_are_alike():
    """Whatever the weights of attention, the probe then takes the one value that there is."""
    model = classifier("vit_tiny", head="map", **VIT)
    head, features = model.class_head, model.forward_features(picture(64, 64))
    token = features.levels[-1].values[:, :1]
    alike = type(features)((features.levels[-1]._replace(values=token.expand(-1, 16, -1)),))
    x = head.proj(head.kv(token)[..., 24:])
    torch.testing.assert_close(head(alike), head.fc(x + head.mlp(head.norm_mlp(x)))[:, 0])


def test_a_head_that_reads_the_grid_alone_comes_without_a_class_token():
    names = list(densevit.create_classifier("vit_tiny", num_classes=5, head="mean", **VIT).state_dict())
    assert not any("cls_token" in name for name in names)


def test_weights_of_a_release_leave_out_what_a_backbone_has_no_place_for(tmp_path):
    model = densevit.create_classifier("vit_tiny", num_classes=5, **VIT)
    torch.save(to_theirs(model.state_dict(), "timm_vit"), tmp_path / "vit.pth")
    report = load_weights(densevit.create_backbone("vit_tiny", num_tokens=1, **VIT), tmp_path / "vit.pth")
    assert (report.complete, report.ignored) == (True, ("head.weight", "head.bias"))


def test_wrong_words_are_refused_in_a_sentence():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        densevit.create_classifier("vit_tiny", num_classes=0)
    with pytest.raises(ValueError, match="no class head named 'maps'; did you mean map"):
        densevit.create_classifier("vit_tiny", num_classes=5, head="maps")
    with pytest.raises(ValueError, match=r"head_options .'num_heads'. need a head; name one of pooled, mean, map"):
        densevit.create_classifier("vit_tiny", num_classes=5, head_options=dict(num_heads=3))
    with pytest.raises(ValueError, match="num_heads must divide the 192 channels of the backbone's last level, got 7"):
        densevit.create_classifier("vit_tiny", num_classes=5, head="map", head_options=dict(num_heads=7))
    with pytest.raises(KeyError, match="did you mean deit_tiny"):
        densevit.create_classifier("deit_tin", num_classes=5)
