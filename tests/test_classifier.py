"""A classifier is a backbone with the head of its paper."""

import pytest
import torch

import densevit
from densevit.weights import load_weights, to_theirs
from tools.peers import import_peer
from tools.peers.common import picture, randomize

TINY = dict(dim=24, num_heads=3, depth=4)


@pytest.mark.parity
def test_the_weights_of_a_classifier_of_timm_give_its_logits(tmp_path):
    theirs = randomize(import_peer("timm").create_model("deit_tiny_patch16_224"))
    torch.save(theirs.state_dict(), tmp_path / "deit.pth")
    ours = densevit.create_classifier("vit_tiny", num_classes=1000).eval()
    assert load_weights(ours, tmp_path / "deit.pth").complete
    assert sum(p.numel() for p in ours.parameters()) == 5_717_416
    image = picture(224, 224)
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image), rtol=1e-5, atol=1e-5)


def test_weights_of_a_classifier_start_a_backbone_which_leaves_the_head_aside(tmp_path):
    classifier = densevit.create_classifier("vit_tiny", num_classes=5, depth=4)
    torch.save(to_theirs(classifier.state_dict(), "timm_vit"), tmp_path / "vit.pth")
    report = load_weights(densevit.create_backbone("vit_tiny", num_tokens=1, depth=4), tmp_path / "vit.pth")
    assert report.complete
    assert report.ignored == ("head.weight", "head.bias")


def test_a_distilled_classifier_gives_the_mean_of_the_logits_of_its_two_tokens():
    model = densevit.create_classifier("deit_tiny_distilled", num_classes=5, **TINY)
    features = model.forward_features(picture(64, 96))
    of_class, of_distillation = model.class_head.pair(features)
    torch.testing.assert_close(of_class, model.class_head.fc(features.class_token))
    torch.testing.assert_close(model(picture(64, 96)), (of_class + of_distillation) / 2)


@pytest.mark.parametrize("head", ["pooled", "mean", "map"])
@pytest.mark.parametrize(("name", "size"), [("mit_b0", (64, 65)), ("vit_tiny", (16, 48, 33))])
def test_any_backbone_takes_a_head_by_its_name(name, size, head):
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=5, head=head, spatial_dims=len(size), in_channels=1)
        assert model(torch.empty(2, 1, *size)).shape == (2, 5)


def test_a_head_that_reads_the_grid_alone_comes_without_a_class_token():
    names = list(densevit.create_classifier("vit_tiny", num_classes=5, head="mean", **TINY).state_dict())
    assert not any("cls_token" in name for name in names)


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        densevit.create_classifier("vit_tiny", num_classes=0)


def test_an_unknown_head_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="no class head named 'maps'; did you mean map"):
        densevit.create_classifier("vit_tiny", num_classes=5, head="maps")
    with pytest.raises(ValueError, match=r"head_options .'num_heads'. need a head; name one of pooled, mean, map"):
        densevit.create_classifier("vit_tiny", num_classes=5, head_options=dict(num_heads=3))
