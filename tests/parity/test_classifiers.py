"""Classifiers: files of timm, torchvision and transformers give the logits of their models."""

import pytest
import torch
from safetensors.torch import save_file

import densevit
from densevit.weights import to_theirs
from tools.peers import import_peer
from tools.peers.common import picture, randomize, transformers_segformer
from tools.peers.mvit import timm_classifier

pytestmark = pytest.mark.parity

NARROW = dict(embed_dim=48, depth=4, num_heads=3, img_size=(64, 96), num_classes=7)
VIT = dict(dim=48, depth=4, num_heads=3, image_size=(64, 96))
SWIN = dict(dim=32, depths=(1, 1, 2, 1))
PVT = dict(dims=(8, 16, 40, 64), depths=(1, 1, 2, 1))


def timm(name, **options):
    return import_peer("timm").create_model(name, **options)


def torchvision_swin():
    import_peer("timm")  # makes torchvision importable
    swin = import_peer("torchvision").models.swin_transformer.SwinTransformer
    heads, window = [1, 2, 4, 8], [7, 7]
    return swin([4, 4], 32, list(SWIN["depths"]), heads, window, stochastic_depth_prob=0, num_classes=7)


def transformers(model, config, **options):
    module = import_peer("transformers")
    return getattr(module, model)(getattr(module, config)(num_labels=7, **options))


def huggingface_vit(model, config):
    size = dict(hidden_size=48, num_hidden_layers=4, num_attention_heads=3, intermediate_size=192, image_size=(64, 96))
    return transformers(model, config, **size, layer_norm_eps=1e-6)


def huggingface_pvt():
    """With the eps of the release, which is 1e-5 after patches and reductions."""
    model = transformers("PvtForImageClassification", "PvtConfig", depths=[1, 1, 2, 1], image_size=64)
    for path in dict(model.named_modules()):
        if path.endswith(("sequence_reduction", "projection")):
            model.get_submodule(path.rpartition(".")[0]).layer_norm.eps = 1e-5
    return model


def huggingface_mit():
    theirs = transformers("SegformerForImageClassification", "SegformerConfig")
    theirs.segformer = transformers_segformer("mit_b0", num_classes=2).segformer
    return theirs


# Source -> their model, ours, its options, and sizes of pictures.
CASES = {
    "timm_vit": (lambda: timm("deit_tiny_patch16_224", **NARROW), "deit_tiny", VIT, [(64, 96)]),
    "timm_vit distilled": (
        lambda: timm("deit_tiny_distilled_patch16_224", **NARROW),
        "deit_tiny_distilled",
        VIT,
        [(64, 96)],
    ),
    "timm_vit map": (
        lambda: timm("vit_base_patch16_siglip_224", **NARROW),
        "vit_base",
        dict(**VIT, head="map", head_options=dict(num_heads=3)),
        [(64, 96)],
    ),
    "timm_vit mean": (
        lambda: timm("vit_huge_patch14_gap_224", **NARROW | dict(patch_size=16)),
        "vit_base",
        dict(**VIT, head="mean"),
        [(64, 96)],
    ),
    "huggingface_vit": (lambda: huggingface_vit("ViTForImageClassification", "ViTConfig"), "vit_tiny", VIT, [(64, 96)]),
    "huggingface_deit": (
        lambda: huggingface_vit("DeiTForImageClassificationWithTeacher", "DeiTConfig"),
        "deit_tiny_distilled",
        VIT,
        [(64, 96)],
    ),
    "timm_pvt_v2": (
        lambda: timm("pvt_v2_b0", embed_dims=PVT["dims"], depths=PVT["depths"], num_classes=7),
        "pvt_v2_b0",
        PVT,
        [(64, 96), (75, 93)],
    ),
    "huggingface_segformer": (huggingface_mit, "mit_b0", {}, [(64, 96), (75, 93)]),
    "huggingface_pvt_v1": (huggingface_pvt, "pvt_v1_tiny", dict(depths=(1, 1, 2, 1), image_size=64), [(64, 64)]),
    "timm_swin": (
        lambda: timm(
            "swin_tiny_patch4_window7_224", embed_dim=32, depths=SWIN["depths"], num_heads=(1, 2, 4, 8), num_classes=7
        ),
        "swin_tiny",
        SWIN,
        [(224, 224)],
    ),
    "torchvision_swin": (torchvision_swin, "swin_tiny", SWIN, [(224, 224), (232, 328)]),
    "huggingface_swin": (
        lambda: transformers(
            "SwinForImageClassification", "SwinConfig", embed_dim=32, depths=[1, 1, 2, 1], num_heads=[1, 2, 4, 8]
        ),
        "swin_tiny",
        SWIN,
        [(224, 224), (250, 331)],
    ),
    "timm_mvit": (
        lambda: timm_classifier("mvit_v2_tiny", depths=(1, 2, 1, 1), image_size=96, num_classes=7),
        "mvit_v2_tiny",
        dict(depths=(1, 2, 1, 1), pyramid=dict(image_size=96)),
        [(96, 96)],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_file_of_their_classifier_gives_its_logits(case, tmp_path):
    make, name, options, sizes = CASES[case]
    theirs = randomize(make())
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = densevit.create_classifier(name, num_classes=7, weights=tmp_path / "theirs.pth", **options).eval()
    ((_, report),) = ours.load_reports
    assert (report.source, report.fresh) == (case.split()[0], ())
    for size in sizes:
        assert difference(theirs, ours, picture(*size)) <= 1e-5
        assert difference(theirs.double(), ours.double(), picture(*size).double()) <= 1e-10
        theirs.float(), ours.float()


def test_a_distilled_deit_goes_to_transformers_with_both_of_its_heads(tmp_path):
    ours = randomize(densevit.create_classifier("deit_tiny_distilled", num_classes=7, **VIT)).eval()
    theirs = huggingface_vit("DeiTForImageClassificationWithTeacher", "DeiTConfig")
    theirs.config.save_pretrained(tmp_path)
    state = to_theirs(ours.state_dict(), "huggingface")
    assert {"cls_classifier.weight", "distillation_classifier.weight"} <= set(state)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, tmp_path / "model.safetensors")
    theirs, told = type(theirs).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(told.values())
    assert difference(theirs.eval(), ours, picture(64, 96)) <= 1e-5


def difference(theirs, ours, image):
    """The largest of the logits, relative to the largest logit."""
    with torch.inference_mode():
        expected, found = theirs(image), ours(image)
    expected = getattr(expected, "logits", expected)
    assert found.shape == expected.shape == (1, 7)
    return ((found - expected).abs().max() / expected.abs().max()).item()
