"""Key maps of MViT: released names, classifiers that peers write, kernels of one frame, tables in one piece."""

import pytest
import torch

import densevit
from densevit.weights import guess_source, load_weights, to_ours, to_theirs
from tests.weights.common import backbone, equal, snapshot
from tools.peers import import_peer, import_torchvision_shim
from tools.peers.common import randomize

FINER_NORMS = tuple(f"backbone.out_norms.{i}.{part}" for i in range(3) for part in ("weight", "bias"))
TINY = dict(depths=(1, 2, 1, 1), dim=32)


def names_and_shapes(state, names):
    return {name: tuple(state[name].shape) for name in names}


def test_the_released_names_are_those_of_the_authors():
    theirs = to_theirs(backbone("mvit_v2_tiny", **TINY).state_dict(), "facebook_mvit")
    expected = {
        "patch_embed.proj.weight": (32, 3, 7, 7),
        "blocks.0.attn.pool_q.weight": (32, 1, 3, 3),
        "blocks.0.attn.norm_k.bias": (32,),
        "blocks.1.proj.weight": (64, 32),
        "blocks.1.attn.qkv.weight": (192, 32),
        "blocks.2.attn.pool_v.weight": (32, 1, 3, 3),
        "blocks.3.attn.rel_pos_h": (55, 32),
        "blocks.4.attn.rel_pos_w": (27, 32),
        "blocks.4.mlp.fc2.weight": (256, 1024),
        "norm.weight": (256,),
    }
    assert names_and_shapes(theirs, expected) == expected
    dense = to_theirs(backbone("mvit_v2_tiny", **TINY).state_dict(), "detectron2_mvit")
    assert dense.keys() - theirs.keys() == {
        f"scale{i}_norm.{part}" for i in (2, 3, 4, 5) for part in ("weight", "bias")
    }


def test_the_released_names_of_video_are_those_of_the_authors():
    options = dict(spatial_dims=3, pyramid="video", **TINY)
    first = to_theirs(backbone("mvit_v1_base", **options).state_dict(), "slowfast_mvit")
    expected = {
        "cls_token": (1, 1, 32),
        "pos_embed_spatial": (1, 3136, 32),
        "pos_embed_temporal": (1, 8, 32),
        "pos_embed_class": (1, 1, 32),
        "patch_embed.proj.weight": (32, 3, 3, 7, 7),
        "blocks.0.attn.pool_k.weight": (32, 1, 3, 3, 3),
        "blocks.1.attn.pool_q.weight": (32, 1, 3, 3, 3),
    }
    assert names_and_shapes(first, expected) == expected
    assert "blocks.0.attn.pool_q.weight" not in first
    second = to_theirs(backbone("mvit_v2_small", class_token=True, **options).state_dict(), "slowfast_mvit")
    assert [tuple(second[f"blocks.0.attn.rel_pos_{axis}"].shape) for axis in "thw"] == [(15, 32), (111, 32), (111, 32)]


@pytest.mark.parametrize("source", ["facebook_mvit", "timm_mvit"])
@pytest.mark.parametrize("grow_in_mlp", [False, True])
def test_a_classifier_has_all_of_a_backbone_but_the_norms_of_three_levels(source, grow_in_mlp, tmp_path):
    options = dict(dim=32, depths=(2, 2, 2, 2), grow_in_mlp=grow_in_mlp)
    model, target = backbone("mvit_v2_tiny", **options), backbone("mvit_v2_tiny", seed=1, **options)
    head = {"facebook_mvit": "head.projection.weight", "timm_mvit": "head.fc.weight"}[source]
    theirs = to_theirs(model.state_dict(), source) | {head: torch.zeros(10, 256)}
    torch.save({"model_state": theirs}, tmp_path / "classifier.pyth")
    before = snapshot(target)
    report = load_weights(target, tmp_path / "classifier.pyth")
    assert (report.source, report.complete, report.fresh) == (source, True, FINER_NORMS)
    assert report.ignored == (head,)
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, (before if f"backbone.{name}" in FINER_NORMS else model.state_dict())[name])


def test_a_detector_gives_its_backbone_with_all_norms(tmp_path):
    model, target = backbone("mvit_v2_tiny", **TINY), backbone("mvit_v2_tiny", seed=1, **TINY)
    theirs = {f"backbone.bottom_up.{name}": t for name, t in to_theirs(model.state_dict(), "detectron2").items()}
    beside = ("backbone.fpn_lateral2.weight", "proposal_generator.rpn_head.conv.weight", "roi_heads.mask.weight")
    torch.save({"model": theirs | {name: torch.zeros(1) for name in beside}}, tmp_path / "detector.pth")
    report = load_weights(target, tmp_path / "detector.pth")
    assert (report.source, report.complete, report.fresh) == ("detectron2_mvit", True, ())
    assert set(report.ignored) == set(beside)
    assert equal(model, target)


def test_kernels_of_one_frame_are_kernels_of_images():
    theirs = to_theirs(backbone("mvit_v2_tiny", **TINY).state_dict(), "facebook_mvit")
    video = {name: t.unsqueeze(2) if t.ndim == 4 else t for name, t in theirs.items()}
    assert video["blocks.0.attn.pool_q.weight"].shape == (32, 1, 1, 3, 3)
    assert equal(to_ours(video, "facebook_mvit").state, to_ours(theirs, "facebook_mvit").state)


def test_separate_queries_keys_and_values_and_a_table_in_one_piece_are_read():
    model = backbone("mvit_v1_base", **TINY)
    theirs = to_theirs(model.state_dict(), "facebook_mvit")
    theirs["pos_embed"] = torch.cat([theirs.pop("pos_embed_class"), theirs.pop("pos_embed_spatial")], dim=1)
    for name in [name for name in theirs if ".qkv." in name]:
        parts = theirs.pop(name).chunk(3)
        theirs |= {name.replace(".qkv.", f".{part}."): t for part, t in zip("qkv", parts, strict=True)}
    assert guess_source(theirs) == "facebook_mvit"
    translation = to_ours(theirs, "facebook_mvit")
    assert translation.unexpected == []
    assert equal(translation.state, to_ours(to_theirs(model.state_dict(), "facebook_mvit"), "facebook_mvit").state)


# The names are those of the peers' own classes.


@pytest.mark.parity
@pytest.mark.parametrize("name", ["mvit_v2_tiny", "mvit_v2_large"])
def test_a_translated_backbone_loads_into_timm_and_the_released_file_reads_the_same(name):
    timm = import_peer("timm")
    with torch.device("meta"):
        model = densevit.create_backbone(name)
        theirs = timm.create_model(name.replace("mvit_v2", "mvitv2"), num_classes=0)
    released = {name: torch.empty(t.shape) for name, t in to_theirs(model.state_dict(), "facebook").items()}
    filtered = import_peer("timm.models.mvitv2").checkpoint_filter_fn(released, theirs)
    for state in (to_theirs(model.state_dict(), "timm_mvit"), filtered):
        assert {n: t.shape for n, t in state.items()} == {n: t.shape for n, t in theirs.state_dict().items()}


@pytest.mark.parity
@pytest.mark.parametrize(("theirs", "ours"), [("mvit_v1_b", "mvit_v1_base"), ("mvit_v2_s", "mvit_v2_small")])
def test_a_classifier_of_torchvision_loads(theirs, ours, tmp_path):
    import_torchvision_shim()
    peer = randomize(getattr(import_peer("torchvision.models.video"), theirs)())
    torch.save(peer.state_dict(), tmp_path / "mvit.pth")
    model = densevit.create_backbone(ours, spatial_dims=3, pyramid="video", class_token=True)
    report = load_weights(model, tmp_path / "mvit.pth")
    assert (report.source, report.complete, report.fresh) == ("torchvision_mvit", True, FINER_NORMS)
    back = to_theirs(model.state_dict(), "torchvision_mvit")
    assert equal(back | {name: t for name, t in peer.state_dict().items() if name.startswith("head.")}, peer)
