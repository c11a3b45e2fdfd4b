"""A trace made with one image gives the model's maps for another size, or refuses it in a sentence."""

import pytest
import torch

import densevit
from densevit.blocks.position import LearnedPositions
from densevit.blocks.window import WindowAttention
from tools.peers.common import randomize

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
TRACED, OTHERS = (64, 96), [(96, 64), (50, 71), (64, 128), (64, 192)]
# A small member of each family, with the options that make it so, and whether a trace of it takes every size.
FAMILIES = {
    "mit_b0": ({}, True),
    "pvt_v1_tiny": (dict(depths=(1, 1, 1, 1), image_size=64), True),
    "pvt_v2_b0": ({}, True),
    "pvt_v2_b2_li": (dict(depths=(1, 1, 1, 1)), True),
    "swin_tiny": (dict(depths=(2, 2), dim=32), False),
    "swin_unetr_tiny": ({}, False),
    "vit_tiny": (dict(depth=4, dim=32, num_heads=2, image_size=(64, 96), num_tokens=1), True),
    "mvit_v1_base": (dict(depths=(1, 1, 1, 1), dim=32), True),
    "mvit_v2_tiny": (dict(depths=(1, 1, 1, 1), dim=32, pyramid="windows"), True),
}


def traced(model, size):
    with torch.no_grad():
        return torch.jit.trace(model, torch.zeros(1, 1, *size), check_trace=False)


def run(trace, image):
    """The trace's maps, or the last line of its error."""
    try:
        with torch.no_grad():
            return trace(image)
    except torch.jit.Error as error:
        return str(error).strip().splitlines()[-1]


def assert_equal_or_refused(model, trace, size):
    image = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model(image)
    found = run(trace, image)
    if isinstance(found, str):
        assert "this trace was made with" in found
        assert "trace the model anew" in found
        return False
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)
    return True


@pytest.mark.parametrize("name", FAMILIES)
def test_a_backbone_traced_with_one_image_is_right_for_another_or_refuses_it(name):
    options, fits_all = FAMILIES[name]
    model = randomize(densevit.create_backbone(name, in_channels=1, **options)).eval()
    trace = traced(model, TRACED)
    assert assert_equal_or_refused(model, trace, TRACED)
    fitting = [assert_equal_or_refused(model, trace, size) for size in OTHERS]
    assert all(fitting) == fits_all


def test_a_trace_of_volumes_is_right_for_others_or_refuses_them():
    narrow = dict(depth=4, dim=36, num_heads=2, image_size=32)
    for name, options in (("vit_tiny", narrow), ("swin_tiny", dict(depths=(2, 2), dim=32, small_maps="shrink"))):
        model = randomize(densevit.create_backbone(name, in_channels=1, spatial_dims=3, **options)).eval()
        trace = traced(model, (32, 32, 64))
        fitting = [assert_equal_or_refused(model, trace, size) for size in ((32, 64, 64), (40, 33, 50))]
        assert all(fitting) == (name == "vit_tiny")


def test_a_trace_of_windows_takes_every_size_of_more_than_one_window():
    model = randomize(densevit.create_backbone("swin_tiny", in_channels=1, dim=32, depths=(2, 2))).eval()
    trace = traced(model, (96, 128))
    assert all(assert_equal_or_refused(model, trace, size) for size in ((128, 96), (101, 67), (64, 160)))
    assert not assert_equal_or_refused(model, trace, (96, 32))


@pytest.mark.parametrize("decoder", ["all_mlp", "fpn", "unetr", "vt_fpn"])
def test_a_whole_model_traced_at_an_odd_size_is_right_at_an_even_one(decoder):
    model = randomize(densevit.create_segmentor("mit_b0", decoder, num_classes=2, in_channels=1)).eval()
    assert assert_equal_or_refused(model, traced(model, (50, 71)), (64, 96))


def test_dinos_resizing_keeps_a_trace_to_its_size():
    options = dict(depth=4, dim=32, num_heads=2, image_size=64, resizing="dino")
    model = randomize(densevit.create_backbone("vit_tiny", in_channels=1, **options)).eval()
    trace = traced(model, (64, 96))
    assert assert_equal_or_refused(model, trace, (64, 96))
    assert not assert_equal_or_refused(model, trace, (96, 64))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (WindowAttention(2, 8, num_heads=2, window_size=4), "attention in shifted windows"),
        (LearnedPositions(8, grid=(4, 4), mode="bicubic", resizing="dino"), "resizing='dino'"),
    ],
    ids=["windows", "dino"],
)
def test_a_program_for_every_size_is_refused_at_once_where_there_is_none(layer, words):
    sizes = ({1: torch.export.Dim.DYNAMIC, 2: torch.export.Dim.DYNAMIC},)
    with pytest.raises(Exception, match=rf"{words} does other things for other sizes .* export it for one size"):
        torch.export.export(layer, (torch.zeros(1, 9, 10, 8),), dynamic_shapes=sizes)
    torch.export.export(layer, (torch.zeros(1, 9, 10, 8),))
