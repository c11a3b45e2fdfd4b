"""Key maps of decoders: FPN and UPerNet survive the way to a release and back, under the release's own names."""

import pytest
import torch

import densevit
from densevit.weights import guess_source, load_weights, to_ours, to_theirs
from tests.weights.common import equal
from tools.peers.common import randomize

OPTIONS = {"fpn": dict(dim=16, head_dim=8), "uper": dict(dim=16), "all_mlp": dict(dim=16, project_norm=True)}
CASES = [
    ("mmseg_segformer", "mit_b0", "fpn"),
    ("mmseg_segformer", "mit_b0", "uper"),
    ("mmseg_segformer", "mit_b0", "all_mlp"),
    ("mmseg_swin", "swin_tiny", "uper"),
    ("microsoft_swin_upernet", "swin_tiny", "uper"),
    ("huggingface_swin_backbone", "swin_tiny", "uper"),
    ("whai362_pvt_v1", "pvt_v1_tiny", "fpn"),
]


def model_of(backbone, decoder, *, num_classes=3):
    torch.manual_seed(0)
    return randomize(
        densevit.create_segmentor(backbone, decoder, num_classes=num_classes, decoder_options=OPTIONS[decoder])
    )


@pytest.mark.parametrize(("source", "backbone", "decoder"), CASES)
def test_a_whole_model_survives_the_way_to_a_release_and_back(source, backbone, decoder):
    model = model_of(backbone, decoder)
    theirs = to_theirs(model.state_dict(), source)
    assert guess_source(theirs) == source
    translation = to_ours(theirs, source)
    assert translation.unexpected == []
    assert equal(translation.state, model)


@pytest.mark.parametrize(("source", "backbone", "decoder"), CASES)
def test_the_auxiliary_head_of_training_is_left_out_and_said(source, backbone, decoder, tmp_path):
    model = model_of(backbone, decoder)
    aside = {"auxiliary_head.convs.0.conv.weight": torch.zeros(4, 4, 3, 3)}
    torch.save(dict(state_dict=to_theirs(model.state_dict(), source) | aside), tmp_path / "model.pth")
    other = densevit.create_segmentor(backbone, decoder, num_classes=3, decoder_options=OPTIONS[decoder])
    report = load_weights(other, tmp_path / "model.pth")
    assert (report.source, report.complete, list(report.ignored)) == (source, True, list(aside))
    assert equal(other, model)


def test_the_names_of_uper_are_those_of_mmsegmentation():
    theirs = to_theirs(model_of("mit_b0", "uper").state_dict(), "mmseg_segformer")
    expected = {
        "decode_head.psp_modules.0.1.conv.weight": (16, 256, 1, 1),
        "decode_head.psp_modules.3.1.bn.running_var": (16,),
        "decode_head.bottleneck.conv.weight": (16, 256 + 4 * 16, 3, 3),
        "decode_head.lateral_convs.2.conv.weight": (16, 160, 1, 1),
        "decode_head.fpn_convs.0.bn.bias": (16,),
        "decode_head.fpn_bottleneck.conv.weight": (16, 64, 3, 3),
        "decode_head.conv_seg.bias": (3,),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    assert sum(name.startswith("decode_head.") for name in theirs) == 12 * 6 + 2


def test_the_names_of_fpn_are_those_of_mmsegmentation():
    theirs = to_theirs(model_of("mit_b0", "fpn").state_dict(), "mmseg_segformer")
    expected = {
        "neck.lateral_convs.3.conv.weight": (16, 256, 1, 1),
        "neck.fpn_convs.0.conv.bias": (16,),
        "decode_head.scale_heads.0.0.conv.weight": (8, 16, 3, 3),
        "decode_head.scale_heads.3.4.conv.weight": (8, 8, 3, 3),
        "decode_head.scale_heads.3.2.bn.num_batches_tracked": (),
        "decode_head.conv_seg.weight": (3, 8, 1, 1),
    }
    assert {name: tuple(theirs[name].shape) for name in expected} == expected
    heads = {name.split(".conv.")[0] for name in theirs if "scale_heads" in name and ".conv." in name}
    places = ["0.0", "1.0", "2.0", "2.2", "3.0", "3.2", "3.4"]
    assert heads == {f"decode_head.scale_heads.{place}" for place in places}


def test_a_model_of_ours_that_was_trained_in_mmsegmentation_loads_into_ours(tmp_path):
    model = model_of("mit_b0", "uper")
    renamed = {"decoder.": "decode_head.decoder.", "head.": "decode_head.conv_seg."}
    state = {}
    for name, tensor in model.state_dict().items():
        first = next((ours for ours in renamed if name.startswith(ours)), "")
        state[renamed.get(first, "") + name.removeprefix(first)] = tensor
    torch.save(dict(state_dict=state, meta={}), tmp_path / "iter_2.pth")
    other = densevit.create_segmentor("mit_b0", "uper", num_classes=3, decoder_options=OPTIONS["uper"])
    report = load_weights(other, tmp_path / "iter_2.pth")
    assert (report.source, report.complete) == ("densevit", True)
    assert equal(other, model)
