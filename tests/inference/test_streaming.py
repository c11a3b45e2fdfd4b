"""Finished planes are reduced and handed on while later windows run: the same result, from a few planes of memory."""

import logging
from itertools import pairwise

import nibabel
import numpy as np
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from densevit.inference import NativeGrid, sliding_window
from densevit.inference.batching import BatchSize
from densevit.inference.layout import GRIDS
from densevit.inference.reduce import labels, multilabel, of_classes, probabilities
from densevit.inference.source import Source
from densevit.inference.stream import Work, stream
from densevit.inference.windows import Windows, make_blend
from tests.inference.common import Recorder, make_image, make_network

SIZE, ROI = (40, 33, 29), (16, 12, 12)
CPU = torch.device("cpu")


@pytest.fixture
def volume():
    return make_image(SIZE)


@pytest.fixture
def network():
    return make_network(3)


@pytest.fixture
def logits(network, volume):
    return sliding_window(network, volume, roi_size=ROI)


@st.composite
def cases(draw):
    spatial_dims = draw(st.integers(2, 3))
    size = [draw(st.integers(1, 18)) for _ in range(spatial_dims)]
    roi = [draw(st.integers(3, 12)) for _ in range(spatial_dims)]
    return size, roi, draw(st.integers(0, spatial_dims - 1))


@given(
    case=cases(),
    overlap=st.floats(0, 0.7),
    grid=st.sampled_from(sorted(GRIDS)),
    blend=st.sampled_from(["constant", "gaussian"]),
    batch_size=st.integers(1, 7),
)
@settings(max_examples=80, deadline=None)
def test_streamed_probabilities_are_those_of_the_whole_logits(case, overlap, grid, blend, batch_size):
    size, roi, axis = case
    network, image = make_network(len(size)), make_image(size)
    options = dict(roi_size=roi, overlap=overlap, grid=grid, blend=blend)
    whole = sliding_window(network, image, **options, batch_size=3)
    streamed = sliding_window(network, image, **options, batch_size=batch_size, axis=axis, reduce="probabilities")
    assert_close(streamed, whole.softmax(0), rtol=0, atol=1e-5)


@given(case=cases(), overlap=st.floats(0, 0.8), windows=st.integers(1, 30), grid=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=200, deadline=None)
def test_every_plane_is_final_once_and_in_order_and_no_later_window_adds_to_it(case, overlap, windows, grid):
    size, roi, axis = case
    layout = Windows(roi_size=roi, overlap=overlap, grid=grid, batch_size=windows).layout(size, axis=axis)
    finished = [layout.finished(step) for step in range(len(layout.steps))]
    assert finished[0][0] == 0
    assert finished[-1][1] == size[axis]
    assert all(before[1] == after[0] for before, after in pairwise(finished))
    assert all(layout.planes(step + 1)[0] >= end for step, (_, end) in enumerate(finished[:-1]))
    assert sum(len(layout.windows(step)) for step in range(len(layout.steps))) == layout.num_windows
    assert all(len(layout.windows(step)) >= min(windows, layout.num_windows) for step in range(len(layout.steps) - 1))


def test_windows_run_along_the_axis_that_needs_the_fewest_sums():
    for size in [(60, 20, 20), (20, 60, 20), (20, 20, 60)]:
        layout = Windows(roi_size=(10, 10, 10)).layout(size)
        assert size[layout.axis] == 60
        assert layout.num_planes * layout.cross_section == 10 * 20 * 20


@pytest.mark.parametrize("length", [60, 120])
def test_the_sums_that_are_held_do_not_grow_with_the_image(length):
    image, held = torch.zeros(1, 20, 20, length), []
    layout = Windows(roi_size=10).layout(image.shape[1:])
    source = Source(image, 3, axis=layout.axis, device=CPU, non_finite="raise")
    work = Work(layout, make_blend(layout, profile="gaussian", floor=0, device=CPU), BatchSize(1), CPU)
    for _, planes in stream(lambda x: x.expand(-1, 4, -1, -1, -1), source, work):
        held.append(planes.untyped_storage().nbytes())
    assert set(held) == {4 * 20 * 20 * 10 * 4}


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_are_the_argmax_of_the_logits_along_every_axis(network, volume, logits, axis):
    result = sliding_window(network, volume, roi_size=ROI, reduce="labels", axis=axis)
    assert result.dtype == torch.int64
    assert torch.equal(result, logits.argmax(0))


def test_reductions_are_named_or_functions_of_logits(network, volume, logits):
    def reduced(reduce):
        return sliding_window(network, volume, roi_size=ROI, reduce=reduce)

    assert torch.equal(reduced("multilabel"), logits.sigmoid() > 0.5)
    assert torch.equal(reduced(multilabel(0.9)), logits > torch.logit(torch.tensor(0.9)))
    assert_close(reduced(of_classes([3, 1])), logits.softmax(0)[[3, 1]])
    assert_close(reduced(lambda x: x.amax(0)), logits.amax(0))
    with pytest.raises(ValueError, match="threshold must lie between 0 and 1, got 1"):
        multilabel(1)


def test_a_nan_in_the_logits_is_no_label(volume):
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        sliding_window(lambda x: x / 0 * 0, volume, roi_size=ROI, reduce="labels")


@pytest.mark.parametrize(("dtype", "error"), [(torch.float16, 2e-3), (torch.bfloat16, 3e-2)], ids=str)
def test_sums_in_half_precision_are_as_exact_as_it_allows(network, volume, dtype, error):
    exact = sliding_window(network.double(), volume.double(), roi_size=ROI, reduce=probabilities)
    options = dict(roi_size=ROI, reduce="probabilities")
    half = sliding_window(network.float(), volume, **options, sum_dtype=dtype)
    single = sliding_window(network, volume, **options)
    assert_close(half.double(), exact, rtol=0, atol=error)
    assert_close(single.double(), exact, rtol=0, atol=1e-6)


def test_sums_that_outgrow_float16_are_said(volume):
    def large(x):
        return torch.cat([x[:, :1] * 0 + 1e5, x[:, :1] * 0 + 2e5], 1)

    with pytest.raises(ValueError, match=r"the sums outgrew float16; give sum_dtype=torch\.bfloat16 or torch\.float32"):
        sliding_window(large, volume, roi_size=ROI, reduce="labels", sum_dtype=torch.float16)
    assert (sliding_window(large, volume, roi_size=ROI, reduce="labels", sum_dtype=torch.bfloat16) == 1).all()


def test_a_reduction_that_changes_the_size_is_explained(network, volume):
    for wrong in (lambda x: x[:, :1], lambda x: x.mean()):
        for native in (None, NativeGrid.same_extent((50, 40, 29), SIZE)):
            with pytest.raises(ValueError, match="reduce must keep the size: of logits"):
                sliding_window(network, volume, roi_size=ROI, reduce=wrong, native=native)


# Images that are read a slab at a time.


def sources(tmp_path, volume):
    np.save(tmp_path / "image.npy", volume.numpy())
    store = zarr.create_array(tmp_path / "image.zarr", shape=volume.shape, dtype="float32", chunks=(1, 16, 16, 16))
    store[:] = volume.numpy()
    return {
        "array": volume.numpy(),
        "big-endian array": volume.numpy().astype(">f8"),
        "memory map": np.load(tmp_path / "image.npy", mmap_mode="r"),
        "private memory map": np.load(tmp_path / "image.npy", mmap_mode="c"),
        "zarr": store,
    }


def test_images_of_every_kind_give_the_same_labels(tmp_path, network, volume, logits):
    for name, image in sources(tmp_path, volume).items():
        for axis in (0, 2):
            result = sliding_window(network, image, roi_size=ROI, reduce="labels", axis=axis)
            assert torch.equal(result, logits.argmax(0)), name


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_nibabel_proxy_is_read_a_slab_at_a_time(tmp_path, ending):
    scan = np.random.default_rng(0).integers(-1000, 1000, SIZE).astype(np.int16)
    image = nibabel.Nifti1Image(scan, np.eye(4))
    image.header.set_slope_inter(0.5, -3)
    nibabel.save(image, tmp_path / f"scan{ending}")
    proxy = nibabel.load(tmp_path / f"scan{ending}").dataobj
    network = make_network(3, in_channels=1)
    result = sliding_window(network, proxy, roi_size=ROI, reduce="labels")
    expected = sliding_window(network, torch.tensor(np.asarray(proxy), dtype=torch.float32)[None], roi_size=ROI)
    assert torch.equal(result, expected.argmax(0))


class Counting:
    """An array that notes which planes of axis 2 are read."""

    def __init__(self, array):
        self.array, self.shape, self.read = array, array.shape, []

    def __getitem__(self, index):
        self.read += range(*index[2].indices(self.shape[2]))
        return self.array[index]


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_every_plane_of_the_image_is_read_once(network, volume, overlap):
    image = Counting(volume.numpy())
    sliding_window(network, image, roi_size=ROI, overlap=overlap, reduce="labels", axis=1)
    assert image.read == list(range(SIZE[1]))


def test_an_image_without_channels_has_one():
    network, image = make_network(3, in_channels=1), make_image(SIZE, channels=1)
    expected = sliding_window(network, image, roi_size=ROI, batch_size=1)
    assert torch.equal(sliding_window(network, image[0], roi_size=ROI, batch_size=1), expected)
    assert torch.equal(sliding_window(network, image[0].numpy(), roi_size=ROI, batch_size=1), expected)


# What cannot be right is said.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("as_array", [False, True])
def test_values_that_are_no_number_are_said_and_replaced_when_asked(network, volume, value, as_array, caplog):
    clean = volume.clone()
    clean[1, 7, 30, 3] = 0.25
    volume[1, 7, 30, 3] = value
    image = volume.numpy() if as_array else volume
    with pytest.raises(ValueError, match=r"NaN or infinity, 1 values from .* \(1, 7, 30, 3\) on; correct the file"):
        sliding_window(network, image, roi_size=ROI, reduce="labels")
    with caplog.at_level(logging.WARNING, "densevit"):
        result = sliding_window(network, image, roi_size=ROI, reduce="labels", non_finite=0.25)
    assert "replaced by 0.25" in caplog.text
    assert torch.equal(result, sliding_window(network, clean, roi_size=ROI, reduce="labels"))


def test_large_values_are_numbers(volume):
    large = volume.abs().clamp_max(3) * 1e38  # their sum overflows, they do not
    assert not large.sum().isfinite()
    assert sliding_window(lambda x: x / 1e38, large, roi_size=ROI).isfinite().all()


def test_a_wrong_channel_count_is_the_networks_own_error_before_anything_is_written(tmp_path, volume):
    with pytest.raises(RuntimeError, match=r"expected input.* to have 1 channels, but got 2 channels"):
        sliding_window(make_network(3, in_channels=1), volume, roi_size=ROI, reduce="labels", out=tmp_path / "out.npy")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_image_is_explained(network):
    with pytest.raises(ValueError, match=r"expected a tensor or an array .* got a list"):
        sliding_window(network, [[1.0]], roi_size=ROI)


@pytest.mark.parametrize("options", [dict(reduce="logits"), dict(reduce="probabilities")], ids=str)
def test_windows_are_left_out_for_labels_alone(network, volume, options):
    with pytest.raises(ValueError, match="foreground leaves windows out, which only labels can do without"):
        sliding_window(network, volume, roi_size=ROI, foreground=lambda window: True, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(non_finite="zero"), "non_finite must be 'raise' or the number that takes their place, got 'zero'"),
        (dict(sum_dtype=torch.int32), "sum_dtype must be a floating type"),
        (dict(sum_dtype="float16"), "sum_dtype must be a floating type"),
        (dict(overlap=(0.5, 1.0, 0.5)), "overlap must be at least 0 and below 1"),
    ],
    ids=str,
)
def test_options_that_cannot_be_are_told_before_the_network_runs(volume, options, message):
    with pytest.raises(ValueError, match=message):
        sliding_window(pytest.fail, volume, roi_size=ROI, reduce="labels", **options)


def test_an_overlap_means_what_it_says():
    assert Windows(roi_size=10, overlap=0.8).layout((50,)).axes[0].starts == tuple(range(0, 41, 2))
    assert Windows(roi_size=10, overlap=0.8, grid="monai").layout((50,)).axes[0].starts == tuple(range(41))  # as there


# Windows that need not be run.


def body(window):
    return bool((window > 5).any())


def test_windows_without_foreground_are_not_run_and_leave_the_others_as_they_are():
    """A network that says 1 where the image is bright: what lies outside of the body is 0 anyway."""
    image = torch.zeros(1, *SIZE)
    image[:, 33:38, 10:16, 8:20] = 10
    network = Recorder(lambda x: torch.cat([5 - x, x - 5], 1))
    expected = sliding_window(network, image, roi_size=ROI, reduce="labels", batch_size=1)
    all_windows = len(network.shapes)
    for batch_size in (1, 3):
        network.shapes.clear()
        result = sliding_window(network, image, roi_size=ROI, reduce="labels", foreground=body, batch_size=batch_size)
        assert torch.equal(result, expected)
        assert sum(shape[0] for shape in network.shapes) < all_windows / 2


def test_progress_counts_windows_that_are_left_out_too_and_the_image_is_safe_from_the_function():
    calls, image = [], torch.zeros(1, *SIZE)
    image[:, 33:38, 10:16, 8:20] = 10
    before = image.clone()

    def spoils(window):
        found = body(window)
        window.zero_()
        return found

    options = dict(roi_size=ROI, reduce="labels", batch_size=3, progress=lambda *counts: calls.append(counts))
    sliding_window(lambda x: torch.cat([5 - x, x - 5], 1), image, **options, foreground=spoils)
    total = Windows(roi_size=ROI).layout(SIZE).num_windows
    assert calls[-1] == (total, total)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert torch.equal(image, before)


def test_an_image_without_foreground_is_background():
    network = Recorder(lambda x: x.expand(-1, 4, -1, -1, -1) + torch.arange(4.0)[:, None, None, None])
    result = sliding_window(network, torch.zeros(1, *SIZE), roi_size=ROI, reduce="labels", foreground=body)
    assert torch.equal(result, torch.zeros(SIZE, dtype=torch.int64))
    assert len(network.shapes) == 1  # for the number of classes


# Padding of images smaller than the roi.


@pytest.mark.parametrize("padding", ["replicate", "reflect", -3.0])
def test_a_small_image_is_padded_as_asked(padding):
    image, seen = make_image((10, 20)), []
    sliding_window(lambda x: (seen.append(x), x)[1], image, roi_size=(16, 12), padding=padding, batch_size=1)
    mode = dict(mode="constant", value=padding) if isinstance(padding, float) else dict(mode=padding)
    expected = torch.nn.functional.pad(image[None], (0, 0, 3, 3), **mode)
    assert torch.equal(seen[0], expected[..., :12])


def test_a_reflection_larger_than_the_image_is_explained():
    with pytest.raises(ValueError, match="padding='reflect' needs an image larger than the padding"):
        sliding_window(lambda x: x, make_image((2, 20)), roi_size=(16, 12), padding="reflect")


def test_labels_on_the_native_grid_are_those_of_the_whole_logits_interpolated(network, volume, logits):
    size = (61, 40, 55)
    expected = torch.nn.functional.interpolate(logits[None].double(), size, mode="trilinear")[0]
    best = expected.topk(2, 0).values
    sure = best[0] - best[1] > 1e-5
    for axis in (0, 1, 2):
        result = sliding_window(
            network,
            volume,
            roi_size=ROI,
            axis=axis,
            reduce="labels",
            native=NativeGrid.same_extent(size, SIZE),
        )
        assert torch.equal(result[sure], expected.argmax(0)[sure])
        assert labels(expected).shape == result.shape
