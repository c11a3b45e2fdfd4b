"""DINOv3's ViTs against timm and transformers: every level, tokens, any size; exact counts; files of the authors."""

import pytest
import torch

import densevit
from densevit.backbones.dinov3_vit import VARIANTS
from densevit.blocks.rope import AxialRope
from densevit.weights import load_weights
from tests.parity.plain import assert_equal_maps, assert_levels_are_those_of_timm, huggingface_maps, take_weights
from tools.peers import import_peer
from tools.peers.common import largest_difference, picture, randomize

pytestmark = pytest.mark.parity

NARROW = dict(dim=48, depth=4, num_heads=3)
COUNTS = {  # parameters of the backbone, and with the linear classifier of 1000 classes
    "dinov3_vit_small": (21_596_160, 22_365_160),
    "dinov3_vit_small_plus": (28_692_480, 29_461_480),
    "dinov3_vit_base": (85_659_648, 87_196_648),
    "dinov3_vit_large": (303_128_576, 305_177_576),
    "dinov3_vit_huge_plus": (840_591_360, 843_152_360),
    "dinov3_vit_7b": (6_716_030_976, 6_724_223_976),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_the_parameters_of_the_release(name):
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=1000)
    assert tuple(sum(p.numel() for p in part.parameters()) for part in (model.backbone, model)) == COUNTS[name]


class ExactRope(torch.nn.Module):
    """Our angles in the form of timm, whose own are computed in single precision."""

    def __init__(self, rope):
        super().__init__()
        self.rope = rope

    def get_embed(self, shape):
        cos, sin = self.rope(shape, like=torch.empty(0, dtype=torch.double))
        return torch.cat([sin, sin, cos, cos], dim=1)


def timm_dinov3(*, gated, bias):
    timm = import_peer("timm")
    name = f"vit_small_{'plus_' if gated else ''}patch16_dinov3{'_qkvb' if bias else ''}"
    options = dict(embed_dim=48, depth=4, num_heads=3, num_classes=0, dynamic_img_pad=True)
    return randomize(timm.create_model(name, **options))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("gated", [False, True])
def test_levels_and_tokens_equal_those_of_timm_at_any_size(gated, bias):
    theirs = timm_dinov3(gated=gated, bias=bias)
    options = dict(gated_ratio=4 if gated else None, qkv_bias="qv" if bias else False, norm="all", **NARROW)
    ours = densevit.create_backbone("dinov3_vit_small", **options)
    take_weights(ours, theirs, source=f"timm_dinov3{'_gated' if gated else ''}")
    for size in ((64, 64), (75, 93), (33, 160)):
        assert_levels_are_those_of_timm(ours, theirs, picture(*size))
    theirs.rope = ExactRope(AxialRope(16, 2))
    image = picture(75, 93).double()
    assert_levels_are_those_of_timm(ours.double(), theirs.double(), image, tolerance=1e-10)


@pytest.mark.parametrize("size", [(4, 4), (3, 10)], ids=str)
def test_angles_are_those_of_timm(size):
    rope = import_peer("timm.layers.pos_embed_sincos").RotaryEmbeddingDinoV3(16)
    sines, cosines = rope.get_embed(size).chunk(2, dim=1)
    cos, sin = AxialRope(16, 2)(size, like=torch.empty(0))
    assert largest_difference(torch.cat([cos, cos], dim=1), cosines) <= 2e-6
    assert largest_difference(torch.cat([sin, sin], dim=1), sines) <= 2e-6


@pytest.mark.parametrize("size", [(64, 64), (48, 80)], ids=str)
@pytest.mark.parametrize("gated", [False, True])
def test_levels_equal_those_of_transformers(gated, size):
    transformers = import_peer("transformers")
    config = transformers.DINOv3ViTConfig(
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=4,
        num_attention_heads=3,
        num_register_tokens=4,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",  # as in what is released
    )
    theirs = randomize(transformers.DINOv3ViTModel(config))
    theirs.rope_embeddings.inv_freq.copy_(100.0 ** -(torch.arange(4) / 4))  # a buffer, randomised like any other
    ours = densevit.create_backbone("dinov3_vit_small", gated_ratio=4 if gated else None, **NARROW)
    take_weights(ours, theirs, source=f"huggingface_dinov3{'_gated' if gated else ''}")
    with torch.inference_mode():
        image = picture(*size)
        out = theirs(image, output_hidden_states=True)
        states = [*out.hidden_states[1:4], out.last_hidden_state]
        expected = huggingface_maps(states, [s // 16 for s in size], num_tokens=5)
        assert_equal_maps(ours(image), expected)
        features = ours.features(image)
        assert_equal_maps(
            [features.class_token, features.registers], [out.pooler_output, out.last_hidden_state[:, 1:5]]
        )


def official_names(ours):
    """A file of the authors as they name its tensors, with random values; their gates are matrices of their own."""
    state = {}
    for name, tensor in ours.state_dict().items():
        name = name.replace("class_head.fc", "linear_head").replace("backbone.out_norms.3", "backbone.norm")
        name = name.replace("stages.0.downsample.proj", "patch_embed.proj").replace("reg_token", "storage_tokens")
        name = name.replace("stages.0.downsample.position.", "")
        for i in range(4):
            name = name.replace(f"stages.{i}.blocks.0.", f"blocks.{i}.")
        value = torch.randn(tensor.shape)
        if name.endswith("qv_bias"):
            value = torch.cat([value[:48], torch.full((48,), torch.nan), value[48:]])  # what the mask leaves out
            state[name.replace("qv_bias", "qkv.bias_mask")] = torch.ones(144)
            state[name.replace("qv_bias", "qkv.bias")] = value
        elif "w12" in name:
            state |= {name.replace("w12", part): half for part, half in zip(("w1", "w2"), value.chunk(2), strict=True)}
        else:
            state[name] = value
    return state | {"backbone.mask_token": torch.zeros(1, 48), "backbone.rope_embed.periods": torch.ones(4)}


@pytest.mark.parametrize("gated", [False, True])
def test_a_file_of_the_authors_fills_a_classifier(gated, tmp_path):
    model = densevit.create_classifier("dinov3_vit_small", num_classes=7, gated_ratio=4 if gated else None, **NARROW)
    state = official_names(model)
    torch.save(state, tmp_path / "official.pth")
    report = load_weights(model, tmp_path / "official.pth")
    assert (report.source, report.complete) == ("facebook_dinov3", True)
    block = model.backbone.stages[1].blocks[0]
    bias = state["backbone.blocks.1.attn.qkv.bias"]
    assert torch.equal(block.attn.qv_bias, torch.cat([bias[:48], bias[96:]]))
    if gated:
        assert torch.equal(block.mlp.w12.weight[:192], state["backbone.blocks.1.mlp.w1.weight"])
    assert torch.equal(model.class_head.fc.weight, state["linear_head.weight"])
    assert model(picture(20, 33)).isfinite().all()


def test_coordinates_change_in_training_alone():
    model = densevit.create_backbone("dinov3_vit_small", jitter=dict(rescale=2.0), **NARROW)
    image = picture(64, 64)
    with torch.no_grad():
        randomize(model).train()
        assert not torch.equal(model(image)[-1], model(image)[-1])
        model.eval()
        assert torch.equal(model(image)[-1], model(image)[-1])


@pytest.mark.parametrize(
    ("jitter", "message"),
    [
        (dict(rescale=0.5), "jitter.rescale must be a factor of 1 or more, got 0.5"),
        (dict(rescal=2.0), "unknown key 'jitter.rescal'; did you mean rescale"),
    ],
)
def test_a_wrong_change_of_coordinates_is_named(jitter, message):
    with pytest.raises(ValueError, match=message):
        densevit.create_backbone("dinov3_vit_small", jitter=jitter, **NARROW)
