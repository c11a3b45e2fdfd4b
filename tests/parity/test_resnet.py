"""ResNet beside torchvision: maps of every stage and logits, and the sizes of all variants."""

import pytest
import torch

import densevit
from densevit.backbones.resnet import VARIANTS
from tools.peers import import_peer
from tools.peers.common import copy_weights, largest_difference, picture, randomize

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def torchvision():
    import_peer("timm")
    return import_peer("torchvision.models")


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def pair(request, torchvision):
    theirs = randomize(getattr(torchvision, request.param)()).double()
    ours = copy_weights(theirs, densevit.create_classifier(request.param, num_classes=1000), source="torchvision")
    return theirs, ours.double()


def their_maps(theirs, image):
    image = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(image))))
    for stage in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        image = stage(image)
        yield image


@pytest.mark.parametrize("size", [(64, 64), (75, 93)], ids=str)
def test_maps_and_logits_equal_those_of_torchvision(pair, size):
    theirs, ours = pair
    image = picture(*size).double()
    with torch.inference_mode():
        for found, expected in zip(ours.backbone(image), their_maps(theirs, image), strict=True):
            assert largest_difference(found, expected) <= 1e-10 * expected.abs().max()
        assert largest_difference(ours(image), theirs(image)) <= 1e-10 * theirs(image).abs().max()


@pytest.mark.parametrize("name", VARIANTS)
def test_the_sizes_are_those_of_torchvision(name, torchvision):
    with torch.device("meta"):
        theirs, ours = getattr(torchvision, name)(), densevit.create_classifier(name, num_classes=1000)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
