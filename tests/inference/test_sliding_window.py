from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

import densevit
from densevit.inference import reduce, sliding_window
from tests.inference.common import Recorder, make_image, make_network
from tools.peers import import_mmseg, import_peer

CASES = [
    ((70, 53), (32, 24)),
    ((64, 64), (32, 32)),
    ((20, 60), (32, 24)),
    ((21, 15), (32, 24)),
    ((40, 33, 21), (16, 16, 24)),
    ((9, 30, 24), (12, 12, 12)),
]


@pytest.mark.parity
@pytest.mark.parametrize("blend", ["constant", "gaussian"])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize(("size", "roi"), CASES, ids=str)
def test_logits_are_those_of_monai_on_its_grid(size, roi, overlap, blend):
    network, image = make_network(len(size)), make_image(size)
    theirs = import_peer("monai.inferers").sliding_window_inference(
        image[None], roi, 3, network, overlap=overlap, mode=blend
    )[0]
    ours = sliding_window(network, image, roi_size=roi, overlap=overlap, blend=blend, grid="monai", batch_size=3)
    assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parity
@pytest.mark.parametrize("stride", [(32, 24), (21, 16), (10, 24)], ids=str)
@pytest.mark.parametrize("size", [(70, 53), (64, 48), (20, 60), (21, 15)], ids=str)
def test_logits_are_those_of_mmseg_on_its_grid(size, stride):
    mmseg = import_mmseg()
    network, image = make_network(2), make_image(size)
    segmentor = SimpleNamespace(
        test_cfg=SimpleNamespace(stride=stride, crop_size=(32, 24)),
        out_channels=5,
        encode_decode=lambda crop, metas: network(crop),
    )
    theirs = mmseg.models.EncoderDecoder.slide_inference(segmentor, image[None], [{}])[0]
    ours = sliding_window(network, image, roi_size=(32, 24), stride=stride, blend="constant", grid="mmseg")
    assert_close(ours, theirs, rtol=0, atol=1e-5)


@st.composite
def images_and_rois(draw):
    spatial_dims = draw(st.integers(1, 3))
    size = [draw(st.integers(1, 24)) for _ in range(spatial_dims)]
    roi = [draw(st.integers(2, 16)) for _ in range(spatial_dims)]
    return size, roi


@given(
    sizes=images_and_rois(),
    overlap=st.floats(0, 0.75),
    blend=st.sampled_from(["constant", "gaussian"]),
    grid=st.sampled_from(["even", "mmseg", "monai"]),
    batch_size=st.integers(1, 7),
)
@settings(max_examples=120, deadline=None)
def test_an_identity_network_gives_the_image_back(sizes, overlap, blend, grid, batch_size):
    size, roi = sizes
    image = make_image(size)
    options = dict(roi_size=roi, overlap=overlap, blend=blend, grid=grid, batch_size=batch_size)
    assert_close(sliding_window(lambda x: x, image, **options), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", ["even", "mmseg", "monai"])
@pytest.mark.parametrize(("size", "roi"), CASES, ids=str)
def test_the_batch_size_does_not_change_the_logits(size, roi, grid):
    network, image = make_network(len(size)), make_image(size)
    one, three, many, auto = (
        sliding_window(network, image, roi_size=roi, grid=grid, batch_size=b) for b in (1, 3, 1000, "auto")
    )
    for other in (three, many, auto):
        assert_close(other, one, rtol=0, atol=1e-5)


@pytest.mark.parametrize("grid", ["even", "monai"])
@pytest.mark.parametrize(("size", "roi"), CASES, ids=str)
def test_every_window_has_the_shape_of_the_roi(size, roi, grid):
    network = Recorder(make_network(len(size)))
    sliding_window(network, make_image(size), roi_size=roi, grid=grid, batch_size=4)
    assert {shape[2:] for shape in network.shapes} == {roi}
    assert all(shape[0] == 4 for shape in network.shapes[:-1])


def test_a_small_image_is_padded_with_zeros_on_both_sides_and_cropped_back():
    seen = []
    image = torch.ones(1, 3, 10)
    logits = sliding_window(lambda x: (seen.append(x.clone()), x)[1], image, roi_size=(8, 4), batch_size=1)
    assert torch.equal(logits, image)
    assert torch.equal(seen[0][0, 0, :, 0], torch.tensor([0.0, 0, 1, 1, 1, 0, 0, 0]))


def test_mmseg_grid_shrinks_the_window_to_a_small_image():
    network = Recorder(make_network(2))
    image = make_image((20, 60))
    sliding_window(network, image, roi_size=(32, 24), grid="mmseg", batch_size=1)
    assert {shape[2:] for shape in network.shapes} == {(20, 24)}


def test_labels_are_the_argmax_of_the_logits():
    network, image = make_network(2), make_image((40, 33))
    logits = sliding_window(network, image, roi_size=(16, 16))
    labels = sliding_window(network, image, roi_size=(16, 16), reduce="labels")
    assert torch.equal(labels, logits.argmax(0))


def test_a_network_that_returns_the_same_tensor_again_or_writes_to_its_input_does_no_harm():
    image = make_image((40, 33))
    before = image.clone()
    fixed = torch.ones(1, 3, 16, 16)
    logits = sliding_window(lambda x: (x.zero_(), fixed)[1], image, roi_size=(16, 16), batch_size=1)
    assert_close(logits, torch.ones(3, 40, 33))
    assert torch.equal(image, before)
    assert torch.equal(fixed, torch.ones(1, 3, 16, 16))


def test_half_precision_logits_are_summed_in_float32():
    network, image = make_network(2), make_image((40, 33))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = sliding_window(network, image, roi_size=(16, 16))
    assert logits.dtype == torch.float32
    assert_close(logits, sliding_window(network, image, roi_size=(16, 16)), rtol=0.02, atol=0.2)  # bfloat16's own error


def test_no_graph_is_kept():
    network = make_network(2).requires_grad_()
    assert not sliding_window(network, make_image((40, 33)), roi_size=(16, 16)).requires_grad


def test_the_logits_can_be_changed_and_trained_on():
    logits = sliding_window(make_network(2), make_image((40, 33)), roi_size=(16, 16))
    weight = torch.ones_like(logits, requires_grad=True)
    (logits.add_(1) * weight).sum().backward()
    assert torch.equal(weight.grad, logits)


def test_an_int_stands_for_every_axis():
    network, image = make_network(3), make_image((12, 20, 14))
    expected = sliding_window(network, image, roi_size=(8, 8, 8), stride=(5, 5, 5), batch_size=2)
    assert torch.equal(sliding_window(network, image, roi_size=8, stride=5, batch_size=2), expected)


def test_the_sum_is_kept_where_asked():
    image = make_image((40, 33))
    assert sliding_window(lambda x: x, image, roi_size=(16, 16), device="meta").device.type == "meta"
    assert sliding_window(lambda x: x, image, roi_size=(16, 16)).device.type == "cpu"


def test_progress_counts_windows_up_to_all_of_them():
    calls = []
    sliding_window(
        lambda x: x,
        make_image((40, 33)),
        roi_size=(16, 16),
        stride=(12, 9),
        batch_size=4,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert calls == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            dict(roi_size=(16,)),
            r"one roi_size of at least 1 per axis of S, got shape \(2, 40, 33\) and roi_size \(16,\)",
        ),
        (dict(roi_size=(16, 0)), "one roi_size of at least 1 per axis"),
        (dict(overlap=1.0), "overlap must be at least 0 and below 1, got 1.0"),
        (dict(overlap=-0.1), "overlap must be at least 0 and below 1"),
        (dict(stride=(17, 8)), r"stride must be 1 to roi_size \(16, 16\) on every axis, got \(17, 8\)"),
        (dict(stride=(8,)), "stride must be 1 to roi_size"),
        (dict(batch_size=0), "batch_size must be 'auto' or at least 1 window, got 0"),
        (dict(padding="wrap"), "padding must be a number, .replicate. or .reflect., got .wrap."),
        (dict(axis=2), "axis must name a spatial axis, -2 to 1, got 2"),
        (dict(batch_size="all"), "batch_size must be 'auto' or at least 1 window, got 'all'"),
        (dict(blend="gausian"), "no blend named 'gausian'; did you mean gaussian"),
        (dict(grid="mmsegm"), "no grid named 'mmsegm'; did you mean mmseg"),
        (dict(reduce="label"), "no reduce named 'label'; did you mean labels"),
    ],
    ids=str,
)
def test_wrong_options_are_explained_before_the_network_runs(options, message):
    with pytest.raises(ValueError, match=message):
        sliding_window(pytest.fail, make_image((40, 33)), **{"roi_size": (16, 16), **options})


def test_an_image_with_an_empty_axis_is_explained():
    with pytest.raises(ValueError, match=r"without empty axes .* got shape \(2, 0, 33\)"):
        sliding_window(pytest.fail, torch.empty(2, 0, 33), roi_size=(16, 16))


@pytest.mark.parametrize(
    "wrong", [lambda x: x[..., ::2], lambda x: x[0], lambda x: x[:1]], ids=["size", "rank", "batch"]
)
def test_a_network_that_returns_another_shape_is_explained(wrong):
    with pytest.raises(ValueError, match="predict must keep batch and size"):
        sliding_window(wrong, make_image((40, 33)), roi_size=(16, 16), batch_size=2)


def test_a_network_that_returns_something_else_than_a_tensor_is_explained():
    with pytest.raises(ValueError, match="predict must return one tensor of logits, got a dict"):
        sliding_window(lambda x: dict(out=x), make_image((40, 33)), roi_size=(16, 16))


def test_a_network_that_changes_its_mind_about_the_classes_is_explained():
    classes = iter([3, 1])
    with pytest.raises(ValueError, match="predict returned 1 classes after 3; every window needs the same"):
        sliding_window(lambda x: x.new_ones(1, next(classes), 16, 16), make_image((40, 33)), roi_size=16, batch_size=1)


def test_it_is_a_public_name():
    assert densevit.sliding_window is sliding_window


@pytest.mark.parametrize("size", [(20, 33), (9, 14, 11)], ids=str)
def test_networks_of_either_memory_layout_give_the_same_sum(size):
    torch.manual_seed(0)
    image, roi_size = torch.randn(2, *size), [8] * len(size)
    expected = sliding_window(lambda windows: windows * 2, image, roi_size=roi_size)
    last = sliding_window(
        lambda windows: (windows * 2).movedim(1, -1).contiguous().movedim(-1, 1), image, roi_size=roi_size
    )
    torch.testing.assert_close(last, expected)


def test_regions_are_the_last_class_above_0_and_no_number_is_refused():
    logits = torch.tensor([[9.0, 9, 9, 9], [1, 1, -1, -1], [-1, 2, 3, -1]])
    assert reduce.regions(logits).tolist() == [1, 2, 2, 0]
    assert reduce.regions(logits[:1]).tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        reduce.regions(logits * float("nan"))
    out = np.zeros((6, 7), np.uint8)
    network = torch.nn.Conv2d(1, 3, 3, padding=1)
    image = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(0))
    sliding_window(network, image, roi_size=(6, 7), reduce="regions", out=out)
    assert np.array_equal(out, reduce.regions(network(image[None])[0].detach()))
