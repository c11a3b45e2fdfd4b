"""Every key map: its release is recognised as itself and nothing else, loads completely, and is described rightly."""

from pathlib import Path

import pytest
import torch

import densevit
from densevit.weights import describe, guess_source, known_sources, load_weights, to_ours, to_theirs
from tests.weights.common import backbone, equal, snapshot
from tools.peers.common import randomize

VIDEO = dict(spatial_dims=3, pyramid="video")
SHALLOW = dict(depths=(1, 1, 1, 1))
CONVNEXT = dict(dims=(8, 16, 24, 32), depths=(1, 1, 1, 1))
PLAIN = dict(depth=4, dim=48, num_heads=3)
NARROW = dict(depths=(1, 1, 1, 1), dim=32)
# Source -> a variant that it releases, options of all its members, and options that make it small.
RELEASES = {
    "densevit": ("mit_b0", {}, {}),
    "nvlabs": ("mit_b1", {}, SHALLOW),
    "huggingface_segformer": ("mit_b0", {}, {}),
    "mmseg_segformer": ("mit_b0", {}, {}),
    "nnunet_primus": ("primus_small", dict(spatial_dims=3), dict(depth=2, dim=72, num_heads=2, taps=(0, 1))),
    "nnunet_primus_v2": (
        "primus_v3_small",
        dict(spatial_dims=3),
        dict(depth=2, dim=72, num_heads=2, taps=(0, 1), stem_dims=(4, 8, 8, 16)),
    ),
    "whai362_pvt_v2": ("pvt_v2_b0", {}, {}),
    "timm_pvt_v2": ("pvt_v2_b2_li", {}, SHALLOW),
    "whai362_pvt_v1": ("pvt_v1_tiny", {}, SHALLOW),
    "huggingface_pvt_v1": ("pvt_v1_tiny", {}, SHALLOW),
    "timm_vit": ("deit_small", {}, dict(depth=4, dim=96)),
    "huggingface_vit": ("deit_tiny", dict(num_tokens=1), dict(depth=4)),
    "huggingface_deit": ("deit_tiny_distilled", {}, dict(depth=4)),
    "google_vit": ("vit_small", {}, dict(depth=4, dim=96)),
    "bigvision_vit": ("vit_small", dict(num_tokens=0), dict(depth=4, dim=96)),
    "google_mixer": ("mixer_small_p16", {}, dict(depth=4, dim=48)),
    "mmseg_vit": ("vit_base", dict(num_tokens=1, image_size=512), dict(depth=4, dim=96, num_heads=4)),
    "monai_vit": ("unetr_vit_base", dict(spatial_dims=3), dict(depth=2, taps=(0, 1), dim=96, num_heads=4)),
    "facebook_cait": ("cait_xxs24", {}, dict(depth=4, dim=48)),
    "facebook_xcit": ("xcit_tiny_12_p8", {}, dict(dim=48)),
    "timm_xcit": ("xcit_nano_12_p16", {}, dict(dim=48)),
    "timm_mixer": ("mixer_small_p32", {}, dict(depth=4, dim=48)),
    "zhoudaquan_deepvit": ("deepvit_16b", dict(num_tokens=1), dict(depth=4, dim=48)),
    "zhoudaquan_stem_deepvit": ("deepvit_s", dict(num_tokens=1, image_size=384), dict(depth=4, num_mixed=2, dim=48)),
    "torchvision_resnet": ("resnet50", {}, NARROW),
    "timm_bit": ("bit_r50x3", {}, NARROW),
    "google_bit": ("bit_r50x1", {}, NARROW),
    "google_hybrid_r": ("vit_tiny_r_s16_p8", {}, PLAIN | dict(stem_dim=32)),
    "google_hybrid_s16": ("vit_base_r50_s16", {}, PLAIN | dict(stem_dim=32, depths=(1, 1, 1))),
    "google_hybrid_s32": ("vit_small_r26_s32", {}, PLAIN | dict(stem_dim=32, depths=(1, 1, 1, 1))),
    "huggingface_bit": ("bit_r50x1", {}, NARROW),
    "timm_hybrid_r": ("vit_tiny_r_s16_p8", {}, PLAIN | dict(stem_dim=32)),
    "timm_hybrid_s16": ("vit_base_r50_s16", {}, PLAIN | dict(stem_dim=32, depths=(1, 1, 1))),
    "huggingface_dpt_hybrid": ("vit_base_r50_s16_384", {}, PLAIN | dict(stem_dim=32, depths=(1, 1, 1))),
    "timm_hybrid_s32": ("vit_small_r26_s32", {}, PLAIN | dict(stem_dim=32, depths=(1, 1, 1, 1))),
    "facebook_timesformer": ("timesformer_hr", dict(spatial_dims=3), PLAIN),
    "huggingface_timesformer": ("timesformer_base", dict(spatial_dims=3, attention="joint", num_frames=5), PLAIN),
    "openai_clip": ("clip_vit_base_p16", {}, PLAIN),
    "openai_clip_resnet": ("clip_resnet50", {}, dict(dim=8, depths=(1, 2, 1, 1))),
    "timm_clip_resnet": ("clip_resnet50x4", {}, dict(dim=8, depths=(1, 2, 1, 1))),
    "huggingface_clip": ("clip_vit_base_p32", {}, PLAIN),
    "coeusguo_ceit": ("ceit_tiny", {}, dict(depth=4, dim=48)),
    "yitu_t2t_vit": ("t2t_vit_10", {}, dict(depth=4, dim=48)),
    "yitu_t2t_vit_t": ("t2t_vit_t_14", dict(image_size=384), dict(depth=4, dim=48)),
    "sail_volo": ("volo_d1", {}, dict(depths=(1, 1, 1, 1), dims=(24, 48))),
    "locuslab_convmixer": ("convmixer_1024_20_ks9_p14", {}, dict(depth=4, dim=48)),
    "timm_convmixer": ("convmixer_768_32", {}, dict(depth=4, dim=48)),
    "microsoft_swin": ("swin_tiny", {}, NARROW),
    "microsoft_swin_upernet": ("swin_base", dict(window_size=12), NARROW),
    "timm_swin": ("swin_small", {}, NARROW),
    "torchvision_swin": ("swin_tiny", {}, NARROW),
    "huggingface_swin": ("swin_tiny", {}, NARROW),
    "huggingface_swin_backbone": ("swin_large", dict(window_size=12), NARROW),
    "mmseg_swin": ("swin_tiny", {}, NARROW),
    "monai_swin_unetr": ("swin_unetr_tiny", dict(spatial_dims=3), {}),
    "facebook_mvit": ("mvit_v2_tiny", {}, SHALLOW),
    "timm_mvit": ("mvit_v2_large", {}, NARROW),
    "detectron2_mvit": ("mvit_v2_small", {}, SHALLOW),
    "slowfast_mvit": ("mvit_v1_base", VIDEO, SHALLOW),
    "facebook_dinov2": ("dinov2_reg_small", {}, PLAIN),
    "huggingface_dinov2": ("dinov2_giant", {}, PLAIN),
    "timm_dinov2_giant": ("dinov2_giant", {}, PLAIN),
    "facebook_dinov3": ("dinov3_vit_small", {}, PLAIN),
    "timm_dinov3": ("dinov3_vit_base", {}, PLAIN),
    "timm_dinov3_gated": ("dinov3_vit_small_plus", {}, PLAIN),
    "huggingface_dinov3": ("dinov3_vit_base", {}, PLAIN),
    "huggingface_dinov3_gated": ("dinov3_vit_7b", {}, PLAIN),
    "facebook_dinov3_convnext": ("dinov3_convnext_small", {}, CONVNEXT),
    "timm_dinov3_convnext": ("dinov3_convnext_base", {}, CONVNEXT),
    "huggingface_dinov3_convnext": ("dinov3_convnext_tiny", {}, CONVNEXT),
    "baai_eva02": ("eva02_tiny", {}, PLAIN),
    "baai_eva02_large": ("eva02_base", {}, PLAIN),
    "timm_eva02": ("eva02_small", {}, PLAIN),
    "timm_eva02_large": ("eva02_base", {}, PLAIN),
    "torchvision_mvit": ("mvit_v2_small", VIDEO | dict(class_token=True), SHALLOW),
}


# (source, backbone, its options, decoder, its options) of releases of whole models.
WHOLE = [
    ("densevit", "mit_b0", {}, "fpn", dict(dim=32, head_dim=16)),
    ("nvlabs", "mit_b0", {}, "all_mlp", dict(dim=64)),
    ("huggingface_segformer", "mit_b0", {}, "all_mlp", {}),
    ("mmseg_segformer", "mit_b0", {}, "all_mlp", dict(project_norm=True)),
    ("microsoft_swin_upernet", "swin_tiny", {}, "uper", {}),
    ("huggingface_swin_backbone", "swin_small", {}, "uper", dict(dim=64)),
    ("mmseg_swin", "swin_base", dict(window_size=12), "uper", {}),
    ("monai_vit", "unetr_vit_base", dict(spatial_dims=3), "unetr", dict(dim=32)),
    ("monai_swin_unetr", "swin_unetr_tiny", dict(spatial_dims=3), "unetr", {}),
]


# Sources whose tensors have the names of another one: test_rules.py, test_npz.py, backbones/test_vt_resnet.py.
NAMED = {"monai_legacy_swin_unetr", "monai_v2_swin_unetr", "dino_vit", "torchvision_vt_resnet"}
NAMED |= {"bigvision_siglip", "bigvision_sincos_vit"}
# Sources that do not keep all that a model of ours holds: parity/test_dinov2.py.
LOSSY = {"timm_dinov2_reg", "timm_dinov2_reg_giant"}


def test_every_source_is_tried():
    assert set(known_sources()) == {*RELEASES, *(source for source, *_ in WHOLE), *NAMED, *LOSSY}


@pytest.mark.parametrize("source", RELEASES)
def test_a_release_is_recognised_as_itself_and_loads_completely(source, tmp_path):
    name, options, small = RELEASES[source]
    expected = backbone(name, **options | small)
    theirs = to_theirs(expected.state_dict(), source)
    assert guess_source(theirs) == source
    torch.save(theirs, tmp_path / "release.pth")
    model = backbone(name, **options | small, seed=1)
    before = snapshot(model)
    report = load_weights(model, tmp_path / "release.pth", source=source)
    assert report.source == source
    assert report.complete
    for tensor, value in model.state_dict().items():
        kept = f"backbone.{tensor}" in report.fresh
        assert torch.equal(value, (before if kept else expected.state_dict())[tensor]), tensor
    assert report.remarks == known_sources()[source].remarks


@pytest.mark.parametrize("source", [source for source in RELEASES if known_sources()[source].class_head])
def test_the_class_head_of_a_release_comes_back_bit_by_bit(source, tmp_path):
    name, options, small = RELEASES[source]
    models = [densevit.create_classifier(name, num_classes=5, **options | small) for _ in range(2)]
    expected = randomize(models[0])
    torch.save(to_theirs(expected.state_dict(), source), tmp_path / "release.pth")
    report = load_weights(models[1], tmp_path / "release.pth", source=source)
    assert (report.complete, report.ignored) == (True, ())
    kept = {tensor: models[1].state_dict()[tensor] for tensor in report.fresh}
    assert equal(models[1], expected.state_dict() | kept)
    assert not any(tensor.startswith("class_head.") for tensor in report.fresh)


@pytest.mark.parametrize("source", RELEASES)
def test_a_publisher_stands_for_all_of_its_releases(source):
    name, options, small = RELEASES[source]
    publisher = source.split("_")[0]
    theirs = to_theirs(meta_backbone(name, **options | small).state_dict(), source)
    assert guess_source(theirs, among=publisher) == source
    assert to_ours(theirs, publisher).state.keys() == to_ours(theirs, source).state.keys()


@pytest.mark.parametrize("source", RELEASES)
def test_the_model_of_a_release_is_told_from_its_tensors(source):
    name, options, _ = RELEASES[source]
    state = meta_backbone(name, **options).state_dict()
    found = describe(to_ours(to_theirs(state, source), source).state)
    assert name in found.relatives
    assert found.spatial_dims == options.get("spatial_dims", 2)
    untold = {key: value for key, value in options.items() if key == "pyramid"}
    again = meta_backbone(name, spatial_dims=found.spatial_dims, **found.backbone_options | untold)
    assert shapes(again.state_dict()) == shapes(state)


@pytest.mark.parametrize(("source", "name", "options", "decoder", "decoder_options"), WHOLE)
def test_the_whole_model_of_a_release_is_told_from_its_tensors(source, name, options, decoder, decoder_options):
    options = dict(options)
    rank = options.pop("spatial_dims", 2)
    common = dict(num_classes=7, spatial_dims=rank, in_channels=2)
    with torch.device("meta"):
        model = densevit.create_segmentor(
            name, decoder, **common, backbone_options=options, decoder_options=decoder_options
        )
    theirs = to_theirs(model.state_dict(), source)
    assert guess_source(theirs) == source
    found = describe(to_ours(theirs, source).state)
    assert (name in found.backbones, found.decoder) == (True, decoder)
    assert dict(num_classes=found.num_classes, spatial_dims=found.spatial_dims, in_channels=found.in_channels) == common
    told = dict(backbone_options=found.backbone_options, decoder_options=found.decoder_options)
    with torch.device("meta"):
        again = densevit.create_segmentor(name, found.decoder, **common, **told)
    assert shapes(again.state_dict()) == shapes(model.state_dict())


def meta_backbone(name, **options):
    with torch.device("meta"):
        return densevit.create_backbone(name, **options)


def shapes(state):
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def test_the_page_on_models_lists_every_source():
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    weights = page[page.index("## Weights") :]
    assert [name for name in known_sources() if name != "densevit" and f"| {name} |" not in weights] == []
