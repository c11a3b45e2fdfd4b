"""Key maps of PVT v1: released names, and the class token that a model for dense prediction leaves out."""

import pytest
import torch
import torch.nn.functional as F

import densevit
from densevit.weights import guess_source, load_weights, read_checkpoint, to_ours, to_theirs
from tests.weights.common import backbone, equal
from tools.peers import import_peer

CASES = [
    (source, lambda token=token: small(class_token=token))
    for source in ("whai362_pvt_v1", "huggingface_pvt_v1")
    for token in (False, True)
]
TOKEN = "stages.3.downsample.position.tokens.cls_token"
TABLE = "stages.3.downsample.position.pos_embed"


def small(**options):
    return backbone("pvt_v1_tiny", depths=(1, 1, 1, 1), image_size=64, **options)


@pytest.mark.parametrize(("source", "make"), CASES)
def test_a_backbone_survives_the_way_to_a_release_and_back(source, make):
    model = make()
    theirs = to_theirs(model.state_dict(), source)
    assert guess_source(theirs) == source
    translation = to_ours(theirs, source)
    assert translation.unexpected == []
    assert equal({name.removeprefix("backbone."): t for name, t in translation.state.items()}, model)


def test_the_released_names_are_those_of_the_authors():
    expected = {
        "cls_token": (1, 1, 512),
        "pos_embed1": (1, 3136, 64),
        "pos_embed3": (1, 196, 320),
        "pos_embed4": (1, 50, 512),
        "patch_embed1.proj.weight": (64, 3, 4, 4),
        "patch_embed4.norm.bias": (512,),
        "block1.0.attn.sr.weight": (64, 64, 8, 8),
        "block3.1.attn.norm.weight": (320,),
        "block2.0.attn.kv.weight": (256, 128),
        "block4.1.attn.q.weight": (512, 512),
        "block1.1.mlp.fc1.weight": (512, 64),
        "block4.0.mlp.fc2.weight": (512, 2048),
    }
    theirs = to_theirs(backbone("pvt_v1_tiny", class_token=True).state_dict(), "whai362_pvt_v1")
    assert {name: tuple(theirs[name].shape) for name in expected} == expected


@pytest.mark.parametrize("source", ["whai362_pvt_v1", "huggingface_pvt_v1"])
def test_a_classifier_loads_into_the_form_for_dense_prediction(source, tmp_path):
    classifier = small(class_token=True)
    beside = {
        "whai362_pvt_v1": ("norm.weight", "norm.bias", "head.weight", "head.bias"),
        "huggingface_pvt_v1": ("encoder.layer_norm.weight", "encoder.layer_norm.bias"),
    }[source]
    state = to_theirs(classifier.state_dict(), source) | {name: torch.zeros(512) for name in beside}
    torch.save(state, tmp_path / "pvt.pth")
    model = small(seed=1)
    report = load_weights(model, tmp_path / "pvt.pth")
    assert report.complete
    assert set(report.ignored) == {*beside, f"backbone.{TOKEN}"}
    expected = classifier.state_dict()
    assert torch.equal(model.state_dict()[TABLE], expected[TABLE][:, 1:])
    assert equal({n: t for n, t in model.state_dict().items() if n != TABLE},
                 {n: t for n, t in expected.items() if n not in (TABLE, TOKEN)})  # fmt: skip


def test_tables_of_another_size_are_resized_on_load(tmp_path):
    other = backbone("pvt_v1_tiny", depths=(1, 1, 1, 1), image_size=96, class_token=True)
    torch.save(to_theirs(other.state_dict(), "whai362_pvt_v1"), tmp_path / "pvt.pth")
    model = small()
    report = load_weights(model, tmp_path / "pvt.pth")
    assert sum("resizing" in remark for remark in report.reshaped) == 4
    cells = other.state_dict()[TABLE][:, 1:].transpose(1, 2).unflatten(2, (3, 3))
    expected = F.interpolate(cells, size=(2, 2), mode="bilinear", align_corners=False).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.state_dict()[TABLE], expected)


@pytest.mark.parity
def test_transformers_writes_files_that_load(tmp_path):
    transformers = import_peer("transformers")
    config = transformers.PvtConfig(depths=[1, 1, 1, 1], image_size=64)
    theirs = transformers.PvtForImageClassification(config)
    theirs.save_pretrained(tmp_path)
    state, _ = read_checkpoint(tmp_path / "model.safetensors")
    model = small(class_token=True)
    report = load_weights(model, tmp_path / "model.safetensors")
    assert (report.source, report.complete) == ("huggingface_pvt_v1", True)
    assert report.ignored == tuple(sorted(("classifier.bias", "classifier.weight", "encoder.layer_norm.bias",
                                           "encoder.layer_norm.weight"), key=list(_plain(state)).index))  # fmt: skip
    back = to_theirs({f"backbone.{n}": t for n, t in model.state_dict().items()}, "huggingface_pvt_v1")
    assert equal(back, {n: t for n, t in state.items() if n in back})
    assert densevit.create_backbone("pvt_v1_tiny", depths=(1, 1, 1, 1), weights=tmp_path / "model.safetensors")


def _plain(state):
    return {name.removeprefix("pvt."): None for name in state}
