"""DINOv2 against timm and transformers: every level, tokens, tables in every form, logits; exact counts."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.backbones.dinov2 import VARIANTS
from densevit.blocks.position import resize_positions
from densevit.weights import load_weights, to_ours
from tests.parity.plain import assert_equal_maps, assert_levels_are_those_of_timm, huggingface_maps, take_weights
from tools.peers import import_peer
from tools.peers.common import largest_difference, picture, randomize

pytestmark = pytest.mark.parity

NARROW = dict(dim=48, depth=4, num_heads=3, image_size=56)
COUNTS = {  # parameters of the backbone, and with the linear classifier of 1000 classes
    "dinov2_small": (22_056_192, 22_825_192),
    "dinov2_base": (86_579_712, 88_116_712),
    "dinov2_large": (304_367_616, 306_416_616),
    "dinov2_giant": (1_136_479_232, 1_139_552_232),
    "dinov2_reg_small": (22_057_728, 22_826_728),
    "dinov2_reg_base": (86_582_784, 88_119_784),
    "dinov2_reg_large": (304_371_712, 306_420_712),
    "dinov2_reg_giant": (1_136_485_376, 1_139_558_376),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_have_the_parameters_of_the_release(name):
    """timm's with registers have `dim` fewer: there the class token has no position of its own."""
    with torch.device("meta"):
        model = densevit.create_classifier(name, num_classes=1000)
    assert tuple(sum(p.numel() for p in part.parameters()) for part in (model.backbone, model)) == COUNTS[name]


def timm_dinov2(*, registers, gated, **options):
    timm = import_peer("timm")
    more = dict(mlp_ratio=16 / 3, mlp_layer=timm.layers.SwiGLUPacked, act_layer=torch.nn.SiLU) if gated else {}
    more |= dict(reg_tokens=4, no_embed_class=True) if registers else {}
    return randomize(
        timm.models.vision_transformer.VisionTransformer(
            img_size=56,
            patch_size=14,
            embed_dim=48,
            depth=4,
            num_heads=3,
            init_values=1e-5,
            num_classes=0,
            dynamic_img_size=True,
            dynamic_img_pad=True,
            **more,
            **options,
        )
    )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_levels_and_tokens_equal_those_of_timm_at_any_size(registers, gated):
    theirs = timm_dinov2(registers=registers, gated=gated)
    source = f"timm_dinov2{'_reg' if registers else ''}{'_giant' if gated else ''}"
    options = dict(num_registers=registers, gated=gated, resizing="antialias", norm="all", **NARROW)
    ours = densevit.create_backbone("dinov2_small", **options)
    take_weights(ours, theirs, source="facebook_dinov2" if source == "timm_dinov2" else source)
    for size in ((56, 56), (75, 93), (28, 140)):
        assert_levels_are_those_of_timm(ours, theirs, picture(*size))
    image = picture(56, 56).double()  # its tables are resized in single precision
    assert_levels_are_those_of_timm(ours.double(), theirs.double(), image, tolerance=1e-10)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_levels_and_logits_equal_those_of_transformers(registers, gated):
    transformers = import_peer("transformers")
    kind = "Dinov2WithRegisters" if registers else "Dinov2"
    more = dict(num_register_tokens=registers) if registers else {}
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=3,
        image_size=56,
        patch_size=14,
        use_swiglu_ffn=gated,
        num_labels=7,
        **more,
    )
    theirs = randomize(getattr(transformers, f"{kind}ForImageClassification")(config)).double()
    resizing = "antialias" if registers else "size"
    options = dict(num_registers=registers, gated=gated, resizing=resizing, **NARROW)
    ours = densevit.create_classifier("dinov2_small", num_classes=7, **options).double()
    take_weights(ours, theirs, source="huggingface_dinov2")
    with torch.inference_mode():
        image = picture(56, 56).double()
        body = getattr(theirs, theirs.base_model_prefix)
        out = body(image, output_hidden_states=True)
        states = [*out.hidden_states[1:4], out.last_hidden_state]
        expected = huggingface_maps(states, (4, 4), num_tokens=1 + registers)
        assert_equal_maps(ours.backbone(image), expected, tolerance=1e-10)
        assert_equal_maps([ours(image)], [theirs(image).logits], tolerance=1e-10)
        image = picture(42, 84).double()  # its tables are resized in single precision
        assert_equal_maps([ours(image)], [theirs(image).logits])


def test_without_registers_a_table_is_resized_by_the_factor_of_the_authors():
    model = densevit.create_backbone("dinov2_small", **NARROW)
    position = model.stages[0].downsample.position
    assert (
        position.resizing,
        densevit.create_backbone("dinov2_reg_small", **NARROW).stages[0].downsample.position.resizing,
    ) == (
        "dino",
        "antialias",
    )
    table = position.pos_embed[:, 1:].mT.unflatten(2, (4, 4))
    expected = F.interpolate(table, scale_factor=(5.1 / 4, 7.1 / 4), mode="bicubic")
    found = resize_positions(position.pos_embed, grid=(4, 4), size=(5, 7), mode="bicubic", resizing="dino")
    assert torch.equal(found[:, 1:], expected.flatten(2).mT)


@pytest.mark.parametrize("size", [(9, 2), (3, 3), (4, 7)], ids=str)
def test_antialiasing_axis_by_axis_is_that_of_both_axes(size):
    table = torch.randn(1, 1 + 16, 8, dtype=torch.double)
    found = resize_positions(table, grid=(4, 4), size=size, mode="bicubic", resizing="antialias")
    expected = F.interpolate(table[:, 1:].mT.unflatten(2, (4, 4)), size=size, mode="bicubic", antialias=True)
    assert largest_difference(found[:, 1:], expected.flatten(2).mT) <= 1e-12


@pytest.mark.parametrize("class_tokens", [1, 4])
def test_a_linear_classifier_of_the_authors_reads_class_tokens_and_the_mean(class_tokens):
    options = dict(class_tokens=class_tokens, norm="all", **NARROW)
    model = randomize(densevit.create_classifier("dinov2_small", num_classes=7, **options))
    image = picture(56, 42)
    with torch.inference_mode():
        levels = model.backbone.features(image, blocks=range(4 - class_tokens, 4)).levels
        grid = levels[-1].grid[0].flatten(0, 1)
        vector = torch.cat([*(level.values[0, 0] for level in levels), sum(grid) / len(grid)])
        expected = model.class_head.fc.weight @ vector + model.class_head.fc.bias
        torch.testing.assert_close(model(image)[0], expected)
    with pytest.raises(ValueError, match=r"class_tokens=4 reads several levels and needs norm='all', got norm='last'"):
        densevit.create_backbone("dinov2_small", class_tokens=4, **NARROW)


def official_names(ours):
    """A file of the authors' linear classifier as they name its tensors, with random values."""
    state = {}
    for name, tensor in ours.state_dict().items():
        name = name.replace("class_head.fc", "linear_head").replace("backbone.out_norms.3", "backbone.norm")
        name = name.replace("stages.0.downsample.proj", "patch_embed.proj")
        name = name.replace("stages.0.downsample.position.tokens.reg_token", "register_tokens")
        name = name.replace("stages.0.downsample.position.tokens.", "").replace("stages.0.downsample.position.", "")
        for i in range(4):
            name = name.replace(f"stages.{i}.blocks.0.", f"blocks.{i}.")
        state[name] = torch.randn(tensor.shape)
    return state | {"backbone.mask_token": torch.zeros(1, 48)}


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("registers", [0, 4])
def test_a_file_of_the_authors_fills_a_classifier(registers, gated, tmp_path):
    options = dict(num_registers=registers, gated=gated, **NARROW)
    model = densevit.create_classifier("dinov2_small", num_classes=7, **options)
    state = official_names(model)
    torch.save(state, tmp_path / "official.pth")
    report = load_weights(model, tmp_path / "official.pth")
    assert (report.source, report.complete, report.ignored) == ("facebook_dinov2", True, ("mask_token",))
    assert torch.equal(model.class_head.fc.weight, state["linear_head.weight"])
    assert torch.equal(model.backbone.stages[1].blocks[0].ls2.gamma, state["backbone.blocks.1.ls2.gamma"])
    assert to_ours(state, "facebook_dinov2").unexpected == []


def test_a_file_of_another_size_is_refused_in_one_sentence(tmp_path):
    torch.save(official_names(densevit.create_classifier("dinov2_small", num_classes=7, **NARROW)), tmp_path / "a.pth")
    other = densevit.create_classifier("dinov2_small", num_classes=7, **{**NARROW, "dim": 96})
    with pytest.raises(ValueError, match=r"a\.pth does not fit this model: .*"):
        load_weights(other, tmp_path / "a.pth")
