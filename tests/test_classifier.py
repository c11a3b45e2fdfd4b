"""A classifier is a backbone with the head of its paper."""

import pytest
import torch

import densevit
from densevit.weights import load_weights, to_theirs
from tools.peers import import_peer
from tools.peers.common import picture, randomize


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
    assert len(report.ignored) == 2


def test_no_classes_are_refused():
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        densevit.create_classifier("vit_tiny", num_classes=0)
