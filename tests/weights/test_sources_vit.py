"""Key maps of the plain ViT: released names, tokens and norms that one side lacks, patches of linear layers."""

import pytest
import torch

import densevit
from densevit.weights import guess_source, known_sources, load_weights, read_checkpoint, to_ours, to_stages, to_theirs
from tests.weights.common import backbone, equal
from tools.peers import import_mmseg, import_peer

TOKENS = "stages.0.downsample.position.tokens."
TABLE = "stages.0.downsample.position.pos_embed"


def small(name="vit_tiny", *, seed=0, **options):
    return backbone(name, seed=seed, **dict(dim=24, num_heads=3, depth=4, image_size=64) | options)


CASES = [
    ("timm_vit", lambda: small(num_tokens=1)),
    ("timm_vit", lambda: small(num_tokens=2, qkv_bias=False)),
    ("timm_vit", lambda: small(num_tokens=0, taps=(3,), norm="none")),
    ("huggingface_vit", lambda: small(num_tokens=1)),
    ("huggingface_deit", lambda: small(num_tokens=2, taps=(0, 1, 3), norm="all")),
    ("mmseg_vit", lambda: small(num_tokens=1, norm="all")),
    ("mmseg_vit", lambda: small(num_tokens=1, norm="none")),
    ("monai_vit", lambda: small(spatial_dims=3, in_channels=1, qkv_bias=False)),
    ("monai_vit", lambda: small(spatial_dims=2, in_channels=3, qkv_bias=True)),
]


@pytest.mark.parametrize(("source", "make"), CASES)
def test_a_backbone_survives_the_way_to_a_release_and_back(source, make):
    model = make()
    theirs = to_theirs(model.state_dict(), source)
    assert guess_source(theirs) == source
    assert guess_source({f"module.{name}": t for name, t in theirs.items()}) == source
    translation = to_ours(theirs, source)
    assert translation.unexpected == []
    state = to_stages(translation.state, [f"backbone.{name}" for name in model.state_dict()])
    assert equal({name.removeprefix("backbone."): t for name, t in state.items()}, model)


def test_the_released_names_are_those_of_timm_and_deit():
    expected = {
        "cls_token": (1, 1, 192),
        "dist_token": (1, 1, 192),
        "pos_embed": (1, 198, 192),
        "patch_embed.proj.weight": (192, 3, 16, 16),
        "blocks.0.norm1.weight": (192,),
        "blocks.3.attn.qkv.bias": (576,),
        "blocks.11.mlp.fc2.weight": (192, 768),
        "norm.bias": (192,),
    }
    theirs = to_theirs(backbone("vit_tiny", num_tokens=2).state_dict(), "timm_vit")
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    assert len(theirs) == 4 + 1 + 12 * 12 + 2


@pytest.mark.parametrize("num_tokens", [0, 1, 2])
def test_a_model_takes_as_many_tokens_as_it_has(num_tokens, tmp_path):
    distilled = small(num_tokens=2)
    torch.save({"model": to_theirs(distilled.state_dict(), "timm_vit")}, tmp_path / "deit.pth")
    model = small(num_tokens=num_tokens, seed=1)
    report = load_weights(model, tmp_path / "deit.pth")
    assert report.complete
    left_out = [f"backbone.{TOKENS}{name}" for name in ("cls_token", "dist_token")[num_tokens:]]
    assert list(report.ignored) == left_out
    theirs, ours = distilled.state_dict(), model.state_dict()
    assert torch.equal(ours[TABLE], torch.cat([theirs[TABLE][:, :num_tokens], theirs[TABLE][:, 2:]], dim=1))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if name != TABLE)


def test_a_norm_that_the_model_lacks_is_left_out_and_one_that_the_file_lacks_is_missed(tmp_path):
    torch.save(to_theirs(small(num_tokens=1).state_dict(), "timm_vit"), tmp_path / "normed.pth")
    report = load_weights(small(num_tokens=1, norm="none"), tmp_path / "normed.pth")
    assert report.complete
    assert report.ignored == ("backbone.norm.weight", "backbone.norm.bias")
    torch.save(to_theirs(small(num_tokens=1, norm="none").state_dict(), "timm_vit"), tmp_path / "plain.pth")
    with pytest.raises(ValueError, match=r"2 missing \(backbone\.out_norms\.3\.weight, "):
        load_weights(small(num_tokens=1), tmp_path / "plain.pth")


def test_one_final_norm_serves_every_level_that_has_it(tmp_path):
    released = small(num_tokens=1)
    torch.save(to_theirs(released.state_dict(), "timm_vit"), tmp_path / "vit.pth")
    model = small(num_tokens=1, norm="all", taps=(1, 2, 3), seed=1)
    assert load_weights(model, tmp_path / "vit.pth").complete
    assert all(torch.equal(norm.weight, released.out_norms[3].weight) for norm in model.out_norms)
    assert to_theirs(model.state_dict(), "timm_vit").keys() == to_theirs(released.state_dict(), "timm_vit").keys()


@pytest.mark.parametrize(("spatial_dims", "in_channels"), [(2, 1), (2, 3), (3, 1), (3, 4)])
def test_a_linear_layer_on_patches_is_a_convolution(spatial_dims, in_channels):
    """MONAI's "perceptron" reads a patch with its pixels in order and the channels last."""
    model = small(spatial_dims=spatial_dims, in_channels=in_channels)
    theirs = to_theirs(model.state_dict(), "monai_vit")
    weight = theirs["patch_embedding.patch_embeddings.1.weight"]
    assert weight.shape == (24, 16**spatial_dims * in_channels)
    patch = torch.randn(in_channels, *[16] * spatial_dims)
    linear = weight @ patch.movedim(0, -1).flatten() + theirs["patch_embedding.patch_embeddings.1.bias"]
    torch.testing.assert_close(model.stages[0].downsample.proj(patch[None]).flatten(), linear, rtol=1e-4, atol=1e-4)


def test_what_old_versions_of_monai_hold_unused_is_ignored(tmp_path):
    model = small(spatial_dims=3, in_channels=1, qkv_bias=False)
    state = to_theirs({f"backbone.{name}": t for name, t in model.state_dict().items()}, "monai_vit")
    unused = [
        "vit.patch_embedding.cls_token",
        "vit.blocks.0.norm_cross_attn.weight",
        "vit.blocks.0.norm_cross_attn.bias",
        "vit.blocks.3.cross_attn.to_q.weight",
    ]
    torch.save(state | {name: torch.zeros(24) for name in unused}, tmp_path / "unetr.pt")
    copy = small(spatial_dims=3, in_channels=1, qkv_bias=False, seed=1)
    report = load_weights(copy, tmp_path / "unetr.pt")
    assert (report.source, report.complete, equal(copy, model)) == ("monai_vit", True, True)
    assert [f"vit.{name}" for name in report.ignored] == unused


@pytest.mark.parametrize(
    "beside",
    ["blocks.0.gamma_1", "blocks.0.attn.proj_l.weight", "blocks.0.temporal_attn.qkv.weight", "blocks.0.ls1.gamma"],
)
def test_families_with_more_in_a_block_are_not_taken_for_a_plain_vit(beside):
    shapes = {name: tuple(t.shape) for name, t in to_theirs(small(num_tokens=1).state_dict(), "timm_vit").items()}
    assert known_sources()["timm_vit"].is_it(shapes)
    assert not known_sources()["timm_vit"].is_it(shapes | {beside: (1,)})


@pytest.mark.parity
@pytest.mark.parametrize(("kind", "num_tokens"), [("ViT", 1), ("DeiT", 2)])
def test_transformers_writes_files_that_load(kind, num_tokens, tmp_path):
    transformers = import_peer("transformers")
    config = getattr(transformers, f"{kind}Config")(
        hidden_size=24, num_attention_heads=3, intermediate_size=96, num_hidden_layers=4, image_size=64
    )
    head = {"ViT": "ViTForImageClassification", "DeiT": "DeiTForImageClassificationWithTeacher"}[kind]
    theirs = getattr(transformers, head)(config)
    theirs.save_pretrained(tmp_path)
    state, _ = read_checkpoint(tmp_path / "model.safetensors")
    assert any(".encoder.layer.0.attention.attention.query." in name for name in state)
    model = small(num_tokens=num_tokens)
    report = load_weights(model, tmp_path / "model.safetensors")
    assert (report.source, report.complete) == (f"huggingface_{kind.lower()}", True)
    assert all("classifier" in name for name in report.ignored)
    translation = to_ours(theirs.state_dict(), report.source, class_head=False)
    of_modules = to_stages(translation.state, prefixed(model))
    assert equal(of_modules, prefixed(model))
    written = to_theirs(prefixed(model), report.source)
    assert equal(written, {name: tensor for name, tensor in state.items() if "classifier" not in name})


def prefixed(model):
    return {f"backbone.{name}": tensor for name, tensor in model.state_dict().items()}


@pytest.mark.parity
@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_a_classifier_of_timm_loads_and_ours_loads_into_timm(name, tmp_path):
    theirs = import_peer("timm").create_model(name)
    torch.save(theirs.state_dict(), tmp_path / "vit.pth")
    model = backbone("vit_tiny", num_tokens=2 if "distilled" in name else 1)
    report = load_weights(model, tmp_path / "vit.pth")
    assert (report.source, report.complete) == ("timm_vit", True)
    assert all(name.startswith("head") for name in report.ignored)
    result = theirs.load_state_dict(to_theirs(model.state_dict(), "timm_vit"), strict=False)
    assert result.unexpected_keys == []
    assert all(name.startswith("head") for name in result.missing_keys)
    assert densevit.create_backbone("vit_tiny", image_size=(64, 96), weights=tmp_path / "vit.pth")


@pytest.mark.parity
@pytest.mark.parametrize("patch_bias", [False, True])
def test_a_backbone_of_mmsegmentation_loads_with_the_bias_that_its_later_versions_lack(patch_bias, tmp_path):
    theirs = import_mmseg().models.backbones.VisionTransformer(
        img_size=(64, 64), embed_dims=24, num_heads=3, num_layers=4, patch_bias=patch_bias
    )
    torch.save({f"backbone.{name}": t for name, t in theirs.state_dict().items()}, tmp_path / "vit.pth")
    model = small(num_tokens=1, norm="none")
    model.stages[0].downsample.proj.bias.data.zero_()
    report = load_weights(model, tmp_path / "vit.pth")
    assert (report.source, report.complete) == ("mmseg_vit", True)
    assert report.fresh == (() if patch_bias else ("backbone.stages.0.downsample.proj.bias",))


def test_a_publisher_gets_the_names_of_the_family_and_not_those_of_another_that_would_take_its_tensors_too():
    state = small(num_tokens=1).state_dict()
    assert equal(to_theirs(state, "timm"), to_theirs(state, "timm_vit"))
