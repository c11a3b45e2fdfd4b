"""EVA-02 against timm: levels, class token, tables, logits of both forms; exact counts; files of the authors."""

import pytest
import torch

import densevit
from densevit.backbones.eva02 import VARIANTS
from densevit.blocks.rope import AxialRope
from densevit.weights import load_weights
from tests.parity.plain import assert_equal_maps, assert_levels_are_those_of_timm, take_weights
from tools.peers import import_peer
from tools.peers.common import largest_difference, picture, randomize

pytestmark = pytest.mark.parity

NARROW = dict(dim=48, depth=4, num_heads=3, image_size=56)
COUNTS = {  # parameters of the backbone, and of the classifier of 1000 classes, which has no norm but its own
    "eva02_tiny": (5_502_144, 5_695_144),
    "eva02_small": (21_621_120, 22_006_120),
    "eva02_base": (85_758_720, 86_527_720),
    "eva02_large": (303_268_800, 304_293_800),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_the_parameters_of_the_release(name):
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=1000)
    backbone, whole = (sum(p.numel() for p in part.parameters()) for part in (model.backbone, model))
    norm = sum(p.numel() for p in model.class_head.pool_norm.parameters())
    assert (backbone, whole - norm) == COUNTS[name]


class ExactRope(torch.nn.Module):
    """Our angles in the form of timm, whose own are computed in single precision."""

    def __init__(self):
        super().__init__()
        self.rope = AxialRope(16, 2, base=10000.0, reference=(16, 16))

    def get_embed(self, shape):
        cos, sin = self.rope(shape, like=torch.empty(0, dtype=torch.double))
        return torch.cat([sin.repeat_interleave(2, 1), cos.repeat_interleave(2, 1)], dim=1)


def timm_eva02(*, larger, **options):
    options = (
        dict(embed_dim=48, depth=4, num_heads=3, img_size=56, dynamic_img_size=True, dynamic_img_pad=True) | options
    )
    name = "eva02_base_patch14_224" if larger else "eva02_tiny_patch14_224"
    return randomize(import_peer("timm").create_model(name, **options))


@pytest.mark.parametrize("larger", [False, True])
def test_levels_and_the_class_token_equal_those_of_timm_at_any_size(larger):
    theirs = timm_eva02(larger=larger, num_classes=0, use_fc_norm=False)
    ours = densevit.create_backbone("eva02_tiny", sub_norm=larger, resizing="antialias", norm="all", **NARROW)
    take_weights(ours, theirs, source=f"timm_eva02{'_large' if larger else ''}")
    for size in ((56, 56), (75, 93), (30, 140)):
        assert_levels_are_those_of_timm(ours, theirs, picture(*size))
    theirs.rope = ExactRope()
    image = picture(56, 56).double()  # tables of other sizes are resized in single precision
    assert_levels_are_those_of_timm(ours.double(), theirs.double(), image, tolerance=1e-10)


@pytest.mark.parametrize("larger", [False, True])
def test_logits_equal_those_of_timm(larger):
    theirs = timm_eva02(larger=larger, num_classes=7)
    ours = densevit.create_classifier("eva02_tiny", num_classes=7, sub_norm=larger, resizing="antialias", **NARROW)
    take_weights(ours, theirs, source=f"timm_eva02{'_large' if larger else ''}")
    with torch.inference_mode():
        for size in ((56, 56), (42, 84)):
            assert_equal_maps([ours(picture(*size))], [theirs(picture(*size))])
        theirs.rope = ExactRope()
        image = picture(56, 56).double()
        assert_equal_maps([ours.double()(image)], [theirs.double()(image)], tolerance=1e-10)


@pytest.mark.parametrize("size", [(16, 16), (3, 10)], ids=str)
def test_angles_are_those_of_timm(size):
    build = import_peer("timm.layers.pos_embed_sincos").build_rotary_pos_embed
    sines, cosines = build(size, dim=16, in_pixels=False, ref_feat_shape=(16, 16))
    cos, sin = AxialRope(16, 2, base=10000.0, reference=(16, 16))(size, like=torch.empty(0))
    assert largest_difference(cos.repeat_interleave(2, 1), cosines) <= 2e-6
    assert largest_difference(sin.repeat_interleave(2, 1), sines) <= 2e-6


def official_names(ours, *, larger):
    """A file of the authors' classifier as they name its tensors, with random values."""
    state = {}
    for name, tensor in ours.state_dict().items():
        name = name.replace("class_head.fc", "head").replace("class_head.pool_norm", "fc_norm")
        name = name.removeprefix("backbone.").replace("stages.0.downsample.proj", "patch_embed.proj")
        name = name.replace("stages.0.downsample.position.tokens.", "").replace("stages.0.downsample.position.", "")
        name = name.replace("mlp.norm", "mlp.ffn_ln")
        for i in range(4):
            name = name.replace(f"stages.{i}.blocks.0.", f"blocks.{i}.")
        value = torch.randn(tensor.shape)
        if name.endswith("qv_bias"):
            parts = ("q_bias", "v_bias")
        elif larger and "w12" in name:
            parts = ("w1", "w2")
        elif larger and "qkv" in name:
            parts = ("q_proj", "k_proj", "v_proj")
        else:
            state[name] = value
            continue
        old = next(part for part in ("qv_bias", "w12", "qkv") if part in name)
        state |= {name.replace(old, part): half for part, half in zip(parts, value.chunk(len(parts)), strict=True)}
    kept = {name: value for name, value in state.items() if not name.startswith("out_norms")}
    return kept | {"rope.freqs_cos": torch.ones(16, 16), "blocks.0.attn.rope.freqs_sin": torch.ones(16, 16)}


@pytest.mark.parametrize("larger", [False, True])
def test_a_file_of_the_authors_fills_a_classifier(larger, tmp_path):
    model = densevit.create_classifier("eva02_tiny", num_classes=7, sub_norm=larger, **NARROW)
    state = official_names(model, larger=larger)
    torch.save(state, tmp_path / "official.pth")
    report = load_weights(model, tmp_path / "official.pth")
    assert report.source == f"baai_eva02{'_large' if larger else ''}"
    assert report.complete
    assert sorted(report.fresh) == ["backbone.out_norms.3.bias", "backbone.out_norms.3.weight"]
    bias = model.backbone.stages[1].blocks[0].attn.qv_bias
    assert torch.equal(bias, torch.cat([state[f"blocks.1.attn.{part}_bias"] for part in "qv"]))
    assert torch.equal(model.class_head.pool_norm.weight, state["fc_norm.weight"])
