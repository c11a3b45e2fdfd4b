"""DINOv3's ConvNeXts against timm and transformers; exact counts."""

import pytest
import torch

import densevit
from densevit.backbones.dinov3_convnext import VARIANTS
from densevit.weights import load_weights
from tests.parity.plain import assert_equal_maps, take_weights
from tools.peers import import_peer
from tools.peers.common import picture, randomize

pytestmark = pytest.mark.parity

NARROW = dict(dims=(8, 16, 24, 32), depths=(1, 2, 2, 1))
COUNTS = {
    "dinov3_convnext_tiny": 27_820_128,
    "dinov3_convnext_small": 49_454_688,
    "dinov3_convnext_base": 87_566_464,
    "dinov3_convnext_large": 196_230_336,
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_the_parameters_of_the_release(name):
    with torch.device("meta"):
        model = densevit.create_backbone(name)
    assert sum(p.numel() for p in model.parameters()) == COUNTS[name]


@pytest.mark.parametrize("size", [(64, 64), (96, 160)], ids=str)
def test_levels_equal_those_of_timm(size):
    theirs = import_peer("timm").models.convnext.ConvNeXt(num_classes=7, **NARROW)
    ours = densevit.create_backbone("dinov3_convnext_tiny", **NARROW)
    take_weights(ours, randomize(theirs), source="timm_dinov3_convnext")
    ours, theirs, image = ours.double(), theirs.double(), picture(*size).double()
    with torch.inference_mode():
        maps = theirs.forward_intermediates(image, intermediates_only=True)
        maps[-1] = ours.out_norms[3](maps[-1].movedim(1, -1)).movedim(-1, 1)
        assert_equal_maps(ours(image), maps, tolerance=1e-10)


def test_levels_equal_those_of_transformers():
    transformers = import_peer("transformers")
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=[*NARROW["dims"]], depths=[*NARROW["depths"]])
    theirs = randomize(transformers.DINOv3ConvNextModel(config))
    ours = densevit.create_classifier("dinov3_convnext_tiny", num_classes=3, **NARROW)
    take_weights(ours.backbone, theirs, source="huggingface_dinov3_convnext")
    ours.class_head.pool_norm.load_state_dict(theirs.layer_norm.state_dict())
    image = picture(64, 96)
    with torch.inference_mode():
        out = theirs(image, output_hidden_states=True)
        last = out.last_hidden_state[:, 1:].mT.unflatten(2, (2, 3))
        assert_equal_maps(ours.eval().backbone(image), [*out.hidden_states[-4:-1], last])
        assert_equal_maps([ours(image)], [ours.class_head.fc(out.pooler_output)])


def test_a_file_of_the_authors_fills_a_backbone(tmp_path):
    model = densevit.create_backbone("dinov3_convnext_tiny", **NARROW)
    state = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("ls.gamma", "gamma").replace("mlp.fc", "pwconv").replace("out_norms.3", "norm")
        for i in range(4):
            first, second = ("proj", "norm") if i == 0 else ("norm", "proj")
            for place, part in enumerate((first, second)):
                name = name.replace(f"stages.{i}.downsample.{part}", f"downsample_layers.{i}.{place}")
        state[name.replace(".blocks.", ".")] = torch.randn(tensor.shape)
    torch.save(state | {"norms.3.weight": state["norm.weight"]}, tmp_path / "official.pth")
    report = load_weights(model, tmp_path / "official.pth")
    assert (report.source, report.complete) == ("facebook_dinov3_convnext", True)
    assert torch.equal(model.stages[2].downsample.proj.weight, state["downsample_layers.2.1.weight"])
