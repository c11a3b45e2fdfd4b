from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from densevit.inference.layout import GRIDS, dense_starts, even_starts, make_axes, make_layout
from densevit.inference.windows import PROFILES, Windows, make_blend
from tools.peers import import_peer


def all_windows(axes):
    return list(product(*(range(len(axis.starts)) for axis in axes)))


AXIS = st.integers(1, 40).flatmap(lambda roi: st.tuples(st.integers(1, 90), st.just(roi), st.integers(1, roi)))


@given(axis=AXIS, grid=st.sampled_from(sorted(GRIDS)))
@settings(max_examples=300, deadline=None)
def test_windows_cover_the_axis_at_most_a_stride_apart_and_stay_inside_a_long_one(axis, grid):
    size, roi, stride = axis
    starts = GRIDS[grid](size, roi, stride)
    assert {x for start in starts for x in range(start, start + roi)} >= set(range(size))
    assert all(0 < b - a <= stride for a, b in pairwise(starts))
    if size > roi:
        assert (starts[0], starts[-1]) == (0, size - roi)
    else:
        assert len(starts) == 1


@given(axis=AXIS)
@settings(max_examples=200, deadline=None)
def test_the_even_grid_never_needs_more_windows_than_the_dense_one(axis):
    assert len(even_starts(*axis)) == len(dense_starts(*axis))


@given(size=st.integers(1, 90), crop=st.integers(1, 40), stride=st.integers(1, 40))
@settings(max_examples=200, deadline=None)
def test_mmseg_windows_are_a_stride_apart_with_the_last_one_shifted_back(size, crop, stride):
    stride = min(stride, crop)
    number = max(size - crop + stride - 1, 0) // stride + 1
    ends = [min(i * stride + crop, size) for i in range(number)]
    (axis,) = make_axes([size], [crop], [stride], "mmseg")
    assert [(s, s + axis.roi) for s in axis.starts] == [(max(end - crop, 0), end) for end in ends]


@pytest.mark.parity
@given(axes=st.lists(AXIS, min_size=1, max_size=2))
@settings(max_examples=50, deadline=None)
def test_monai_windows_are_those_of_dense_patch_slices(axes):
    size, roi, stride = ([max(s, r) for s, r, _ in axes], [r for _, r, _ in axes], [t for _, _, t in axes])
    ours = make_axes(size, roi, stride, "monai")
    theirs = import_peer("monai.data.utils").dense_patch_slices(size, roi, stride)
    assert [make_layout(ours).covered(index) for index in all_windows(ours)] == list(theirs)


@given(
    axes=st.lists(AXIS, min_size=1, max_size=3),
    grid=st.sampled_from(sorted(GRIDS)),
    profile=st.sampled_from(sorted(PROFILES)),
    floor=st.sampled_from([0.0, 1e-3]),
    axis=st.integers(0, 2),
)
@settings(max_examples=80, deadline=None)
def test_the_weights_of_every_pixel_sum_to_one_and_none_is_negative(axes, grid, profile, floor, axis):
    size, roi, stride = zip(*[(min(s, 18), r, max(t, r // 2, 1)) for s, r, t in axes], strict=True)
    made = make_axes(size, roi, stride, grid)
    layout = make_layout(made, axis=axis % len(made))
    weigh = make_blend(layout, profile=profile, floor=floor, device=torch.device("cpu"))
    total = torch.zeros(size)
    for index in all_windows(made):
        weights = weigh(index)
        assert (weights >= 0).all()
        assert weights.shape == tuple(part.stop - part.start for part in layout.inside(index))
        total[layout.covered(index)] += weights
    torch.testing.assert_close(total, torch.ones(size), rtol=0, atol=1e-5)


@given(size=st.integers(20, 400), roi=st.integers(1, 20))
def test_nnunets_grid_is_that_of_its_own_formula(size, roi):
    """compute_steps_for_sliding_window of nnunetv2 2.8.1, half a window a step."""
    count = int(np.ceil((size - roi) / (roi * 0.5))) + 1 if roi > 1 else size
    step = (size - roi) / max(count - 1, 1)
    wanted = [int(np.round(step * i)) for i in range(count)]
    assert list(Windows(roi_size=(roi,), grid="nnunet").layout((size,)).axes[0].starts) == wanted


@pytest.mark.parametrize("roi", [7, 8, 1])
def test_nnunets_weights_are_a_gaussian_about_the_second_of_two_middle_pixels(roi):
    wanted = np.zeros(roi)
    wanted[roi // 2] = 1
    wanted = gaussian_filter(wanted, roi / 8, mode="constant")
    np.testing.assert_allclose(PROFILES["nnunet"](roi), wanted / wanted.max(), rtol=1e-9)
