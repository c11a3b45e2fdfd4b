"""ConvMixer: exact sizes, one block by its equation, and the names of its authors, which are numbers."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.convmixer import VARIANTS, ConvMixerBlock
from densevit.weights import load_weights, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

# Of the classifier of 1000 classes.
RELEASED = {
    "convmixer_1536_20": 51_625_960,
    "convmixer_768_32": 21_110_248,
    "convmixer_1024_20_ks9_p14": 24_383_464,
}


def test_the_sizes_are_those_of_the_releases():
    assert set(RELEASED) == set(VARIANTS)
    for name, count in RELEASED.items():
        with torch.device("meta"):
            assert sum(p.numel() for p in densevit.create_classifier(name, num_classes=1000).parameters()) == count


@pytest.mark.parametrize("size", [(5, 4), (3, 4, 5)], ids=str)
def test_a_block_adds_a_depthwise_convolution_and_then_maps_channels(size):
    block = randomize(ConvMixerBlock(len(size), 2, kernel_size=3, act=F.gelu)).double().eval()
    x = torch.randn(1, *size, 2, dtype=torch.double)

    def norm(y, layer):
        scale = layer.weight / (layer.running_var + layer.eps).sqrt()
        return (y - layer.running_mean) * scale + layer.bias

    mixed = torch.zeros_like(x)
    padded = F.pad(x, [0, 0] + [1, 1] * len(size))
    for place in torch.cartesian_prod(*map(torch.arange, size)).tolist():
        seen = padded[(0, *(slice(p, p + 3) for p in place))]  # (3, 3(, 3), C)
        kernel = block.dwconv.weight[:, 0].movedim(0, -1)
        mixed[(0, *place)] = (seen * kernel).flatten(0, -2).sum(0) + block.dwconv.bias
    y = x + norm(F.gelu(mixed), block.norm1)
    torch.testing.assert_close(block(x), norm(F.gelu(block.fc(y)), block.norm2), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(activation="silu"), "no activation named 'silu'; known: gelu, relu"),
        (dict(kernel_size=8), "kernel_size must be an odd number of cells, got 8"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        densevit.create_backbone("convmixer_768_32", **options)


def test_the_released_names_are_the_numbers_of_its_authors(tmp_path):
    shape = dict(num_classes=3, dim=8, kernel_size=3)
    classifier = randomize(densevit.create_classifier("convmixer_1536_20", **shape))
    theirs = to_theirs(classifier.backbone.state_dict(), "locuslab_convmixer")
    theirs |= {f"25.{name}": tensor for name, tensor in classifier.class_head.fc.state_dict().items()}
    expected = {
        "0.weight": (8, 3, 7, 7),
        "2.running_mean": (8,),
        "3.0.fn.0.weight": (8, 1, 3, 3),
        "3.0.fn.2.bias": (8,),
        "22.1.weight": (8, 8, 1, 1),
        "22.3.running_var": (8,),
        "25.weight": (3, 8),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    torch.save(
        {"state_dict": {f"module.{name}": tensor for name, tensor in theirs.items()}}, tmp_path / "convmixer.pth"
    )
    again = densevit.create_classifier("convmixer_1536_20", **shape)
    report = load_weights(again, tmp_path / "convmixer.pth")
    assert (report.source, report.complete, report.ignored) == ("locuslab_convmixer", True, ())
    assert equal(again, classifier)
    with pytest.raises(ValueError, match="does not fit this model"):
        load_weights(densevit.create_backbone("convmixer_1536_20", dim=8), tmp_path / "convmixer.pth")
