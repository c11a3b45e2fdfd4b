from dataclasses import replace
from itertools import accumulate

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from densevit.blocks import nd
from densevit.inference import interpolate, native, sliding_window
from densevit.inference.native import NativeGrid, Restorer
from densevit.inference.reduce import labels
from tools.peers import import_peer

SIZES = [
    ((30, 41), (75, 95)),  # up
    ((75, 95), (30, 41)),  # down
    ((30, 41), (30, 95)),  # one axis only
    ((11, 13, 10), (26, 20, 24)),
    ((13, 16, 17), (20, 6, 8)),  # up and down
    ((5, 12, 15), (33, 12, 16)),  # thick slices
]


@pytest.fixture(scope="module", autouse=True)
def _many_bricks():
    """In small volumes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interpolate, "VOXELS", 2**7)
        yield


def keep(logits):
    return logits


def dense_labels(logits):
    """The same function as `labels`, but not the same object: every logit is interpolated."""
    return labels(logits)


def make_logits(size, *, classes=5, coarseness=1, seed=0):
    coarse = [max(s // coarseness, 2) for s in size] if coarseness > 1 else size
    noise = torch.randn(1, classes, *coarse, generator=torch.Generator().manual_seed(seed))
    return nd.resize(noise, size)[0].contiguous()


def restore(logits, grid, *, reduce=keep, axis=0, push=7, whole=True):
    """All results in one tensor; every piece given to `push` is overwritten afterwards."""
    rank, length = logits.ndim - 1, logits.shape[axis + 1]
    restorer = Restorer(grid, working_size=logits.shape[1:], axis=axis, reduce=reduce)
    pushes = [push] * -(-length // push) if isinstance(push, int) else push
    results, expected = [], 0
    for begin, end in zip(accumulate(pushes, initial=0), accumulate(pushes), strict=False):
        piece = logits.narrow(axis + 1, begin, min(end, length) - begin).clone()
        for first, result in restorer.push(begin, piece):
            assert first == expected
            expected += result.shape[axis - rank]
            results.append(result)
        piece.fill_(torch.nan)
    assert expected == grid.size[axis] or not whole
    return torch.cat(results, axis - rank)


def interpolated(logits, size):
    """In float64, half-pixel centres."""
    mode = nd.LINEAR_MODE[len(size)]
    return F.interpolate(logits[None].double(), size=tuple(size), mode=mode, align_corners=False)[0]


def assert_are_the_largest(found, logits):
    """Labels of logits, but where the two largest all but agree."""
    two = logits.topk(2, dim=0).values
    clear = two[0] - two[1] > 1e-5
    assert clear.double().mean() > 0.99
    assert torch.equal(found[clear], logits.argmax(0)[clear])


def channels_last(logits):
    return logits.movedim(0, -1).contiguous().movedim(-1, 0)


@st.composite
def grids_and_pushes(draw):
    rank = draw(st.integers(2, 3))
    size = [draw(st.integers(1, 12)) for _ in range(rank)]
    native_size = [draw(st.integers(1, 20)) for _ in range(rank)]
    axis = draw(st.integers(0, rank - 1))
    pushes, left = [], size[axis]
    while left:
        pushes.append(draw(st.integers(1, left)))
        left -= pushes[-1]
    return size, native_size, axis, pushes


@given(case=grids_and_pushes(), last=st.booleans())
@settings(max_examples=150, deadline=None)
def test_however_the_planes_come_the_logits_are_those_interpolated_at_once(case, last):
    size, native_size, axis, pushes = case
    logits = make_logits(size)
    given = channels_last(logits) if last else logits
    result = restore(given, NativeGrid.same_extent(native_size, size), axis=axis, push=pushes)
    assert_close(result.double(), interpolated(logits, native_size), rtol=0, atol=1e-5)


@pytest.mark.parametrize("last", [False, True], ids=["channels_first", "channels_last"])
@pytest.mark.parametrize("coarseness", [1, 8], ids=["noise", "smooth"])
@pytest.mark.parametrize(("size", "native_size"), SIZES, ids=str)
def test_labels_are_those_of_the_interpolated_logits_along_every_axis(size, native_size, coarseness, last):
    logits = make_logits(size, coarseness=coarseness)
    expected = interpolated(logits, native_size)
    for axis in range(len(size)):
        given = channels_last(logits) if last else logits
        found = restore(given, NativeGrid.same_extent(native_size, size), reduce=labels, axis=axis)
        assert found.dtype == torch.int64
        assert_are_the_largest(found, expected)


@pytest.mark.parametrize("coarseness", [1, 8], ids=["noise", "smooth"])
@pytest.mark.parametrize(("size", "native_size"), SIZES, ids=str)
def test_classes_left_out_in_a_brick_do_not_change_the_labels(size, native_size, coarseness):
    logits = make_logits(size, classes=24, coarseness=coarseness)
    grid = NativeGrid.same_extent(native_size, size)
    by_bricks, dense = (restore(logits, grid, reduce=reduce) for reduce in (labels, dense_labels))
    assert (by_bricks == dense).double().mean() > 0.9999


class Chosen(TorchDispatchMode):
    """Remembers how many classes are chosen of the logits of every brick that is interpolated."""

    def __init__(self):
        super().__init__()
        self.classes = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.index_select.default and result.ndim == 3:  # (K, *S), not the labels
            self.classes.append(len(result))
        return result


def test_only_the_classes_at_a_border_are_interpolated_and_only_there():
    logits = torch.full((5, 40, 40), -1.0)
    logits[1], logits[3] = 0, 0
    logits[1, :, :19], logits[3, :, 19:] = 1, 1  # a border along the columns
    with Chosen() as chosen:
        found = restore(logits, NativeGrid.same_extent((110, 110), (40, 40)), reduce=labels, push=40)
    assert_are_the_largest(found, interpolated(logits, (110, 110)))
    assert chosen.classes == [2] * 10  # of 10 x 10 bricks


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    native_size=st.tuples(st.integers(1, 25), st.integers(1, 25)),
    scale=st.tuples(st.floats(0.1, 3), st.floats(0.1, 3)),
    offset=st.tuples(st.floats(-4, 15), st.floats(-4, 15)),
    axis=st.integers(0, 1),
    push=st.integers(1, 12),
)
@settings(max_examples=100, deadline=None)
def test_any_scale_and_offset_give_the_logits_at_those_places(size, native_size, scale, offset, axis, push):
    logits = make_logits(size)
    places = np.meshgrid(
        *(np.arange(n) * s + o for n, s, o in zip(native_size, scale, offset, strict=True)), indexing="ij"
    )
    expected = [map_coordinates(x, places, order=1, mode="nearest") for x in logits.double().numpy()]
    grid = NativeGrid(native_size, scale, offset)
    result = restore(logits, grid, axis=axis, push=push)
    assert_close(result.double(), torch.from_numpy(np.stack(expected)), rtol=0, atol=1e-5)
    two = result.topk(2, dim=0).values
    clear = two[0] - two[1] > 1e-5
    found = restore(logits, grid, axis=axis, push=push, reduce=labels)
    assert torch.equal(found[clear], result.argmax(0)[clear])


@pytest.mark.parity
@pytest.mark.parametrize("working_spacing", [(1.5, 1.5, 2.0), (0.6, 1.1, 0.9), (1.0, 0.4, 3.1)], ids=str)
def test_logits_are_those_of_monai_s_inverse_of_spacing(working_spacing):
    transforms, data = import_peer("monai.transforms"), import_peer("monai.data")
    spacing, native_size = (0.8, 1.0, 1.3), (23, 30, 18)
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    resample = transforms.Spacing(pixdim=working_spacing, mode="bilinear")
    working = resample(data.MetaTensor(make_logits(native_size), affine=affine))
    logits = working.as_tensor().clone()
    grid = NativeGrid.same_origin(native_size, spacing=spacing, working_spacing=working_spacing)
    result = restore(logits, grid)
    theirs = resample.inverse(working).as_tensor()
    assert_close(result, theirs, rtol=1e-5, atol=1e-4)
    assert_are_the_largest(restore(logits, grid, reduce=labels), theirs)


@pytest.mark.parity
@pytest.mark.parametrize(("size", "native_size"), SIZES, ids=str)
def test_logits_are_those_that_nnunet_s_export_gets_from_skimage(size, native_size):
    resize = import_peer("skimage.transform").resize
    logits = make_logits(size)
    theirs = [resize(x, native_size, order=1, mode="edge", anti_aliasing=False) for x in logits.double().numpy()]
    result = restore(logits, NativeGrid.same_extent(native_size, size))
    assert_close(result.double(), torch.from_numpy(np.stack(theirs)), rtol=0, atol=1e-5)


def test_a_ramp_stays_a_ramp_and_ends_at_the_border():
    ramp = torch.arange(9.0)[None, :, None].expand(1, 9, 4)
    result = restore(ramp, NativeGrid((23, 4), scale=(0.5, 1.0), offset=(-1.0, 0.0)))
    assert torch.equal(result[0, :, 1], (torch.arange(23) * 0.5 - 1).clamp(0, 8))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("push", [1, 4, 100])
def test_on_the_same_grid_the_numbers_stay_as_they_are(axis, push):
    logits = make_logits((13, 9, 11))
    grid = NativeGrid.same_extent((13, 9, 11), (13, 9, 11))
    assert torch.equal(restore(logits, grid, axis=axis, push=push), logits)
    assert torch.equal(restore(logits, grid, axis=axis, push=push, reduce=labels), logits.argmax(0))


def test_planes_come_as_soon_as_the_working_planes_beside_them_are_there():
    restorer = Restorer(NativeGrid((7, 2), (0.5, 1.0), (0.0, 0.0)), working_size=(4, 2), axis=0, reduce=keep)
    complete = [sum(result.shape[1] for _, result in restorer.push(begin, torch.zeros(3, 1, 2))) for begin in range(4)]
    assert complete == [1, 2, 2, 2]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_interpolated_in_float32(dtype):
    logits = make_logits((11, 13, 10)).to(dtype)
    grid = NativeGrid.same_extent((26, 20, 24), (11, 13, 10))
    result = restore(logits, grid)
    assert result.dtype == torch.float32
    assert torch.equal(result, restore(logits.float(), grid))
    assert torch.equal(restore(logits, grid, reduce=labels), restore(logits.float(), grid, reduce=labels))


@pytest.mark.parametrize("reduce", [keep, labels])
def test_the_network_s_autocast_does_not_touch_the_interpolation(reduce):
    logits, grid = make_logits((11, 13, 10)), NativeGrid.same_extent((26, 20, 24), (11, 13, 10))
    threads = torch.get_num_threads()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        result = restore(logits, grid, reduce=reduce)
    assert torch.equal(result, restore(logits, grid, reduce=reduce))
    assert torch.get_num_threads() == threads


def test_of_equal_logits_the_first_class_is_the_label():
    logits = torch.zeros(4, 12, 15)
    logits[0] = -1
    grid = NativeGrid.same_extent((30, 31), (12, 15))
    assert torch.equal(restore(logits, grid, reduce=labels), torch.ones(30, 31, dtype=torch.int64))


@pytest.mark.parametrize("reduce", [labels, dense_labels])
@pytest.mark.parametrize("native_size", [(12, 15), (30, 31), (7, 40)], ids=str)
def test_infinite_logits_win_or_lose_as_large_ones(native_size, reduce):
    logits = make_logits((12, 15))
    logits[0] = -torch.inf
    logits[1, 3:5] = torch.inf
    finite = logits.clamp(-1e6, 1e6)
    grid = NativeGrid.same_extent(native_size, (12, 15))
    assert torch.equal(restore(logits, grid, reduce=labels) == 0, torch.zeros(native_size, dtype=torch.bool))
    same = restore(logits, grid, reduce=reduce) == restore(finite, grid, reduce=reduce)
    assert same.double().mean() > 0.99


@pytest.mark.parametrize("native_size", [(30, 31), (3, 2)], ids=["up", "down"])
@pytest.mark.parametrize("place", [(0, 0), (6, 8), (11, 14)], ids=str)
def test_labels_refuse_nan_wherever_it_is(place, native_size):
    logits = make_logits((12, 15))
    logits[(2, *place)] = torch.nan
    with pytest.raises(ValueError, match="the model's answer is not a number"):
        restore(logits, NativeGrid.same_extent(native_size, (12, 15)), reduce=labels)


def test_a_reduction_may_give_several_numbers_a_voxel():
    logits = make_logits((12, 15))
    grid = NativeGrid.same_extent((30, 31), (12, 15))
    result = restore(logits, grid, reduce=lambda x: x[[3, 1]].sigmoid() > 0.5, axis=1)
    assert torch.equal(result, restore(logits, grid, axis=1)[[3, 1]] > 0)


class Largest(TorchDispatchMode):
    """Remembers the numel of the largest tensor that any operation gave."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for x in result if isinstance(result, list | tuple) else [result]:
            self.numel = max(self.numel, x.numel() if isinstance(x, torch.Tensor) else 0)
        return result


@pytest.mark.parametrize("reduce", [labels, dense_labels])
def test_no_tensor_is_as_large_as_the_native_volume(reduce, monkeypatch):
    monkeypatch.setattr(native, "MOST_VALUES", 2**12)
    size, native_size = (12, 8, 8), (48, 24, 24)
    logits = make_logits(size)
    restorer = Restorer(NativeGrid.same_extent(native_size, size), working_size=size, axis=0, reduce=reduce)
    with Largest() as largest:
        for begin in range(0, 12, 4):
            for _ in restorer.push(begin, logits[:, begin : begin + 4]):
                pass
    assert largest.numel <= 2**12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize(("size", "native_size"), SIZES, ids=str)
def test_a_gpu_gives_the_same_labels(size, native_size):
    logits = make_logits(size)
    found = restore(logits.cuda(), NativeGrid.same_extent(native_size, size), reduce=labels)
    assert found.is_cuda
    assert_are_the_largest(found.cpu(), interpolated(logits, native_size))


def test_the_two_conventions_place_the_first_voxel_as_they_say():
    extent = NativeGrid.same_extent((20, 30), (10, 60))
    assert extent == NativeGrid((20, 30), scale=(0.5, 2.0), offset=(-0.25, 0.5))
    origin = NativeGrid.same_origin((20, 30), spacing=(1.0, 3.0), working_spacing=(2.0, 1.5))
    assert origin == NativeGrid((20, 30), scale=(0.5, 2.0), offset=(0.0, 0.0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NativeGrid((4, 0), (1.0, 1.0), (0.0, 0.0)), r"a size of at least 1.* got NativeGrid\(size=\(4, 0\)"),
        (lambda: NativeGrid((), (), ()), "a size of at least 1"),
        (lambda: NativeGrid((4, 4), (1.0,), (0.0, 0.0)), "every axis of a native grid needs a size"),
        (lambda: NativeGrid((4, 4), (1.0, 0.0), (0.0, 0.0)), r"scale must be positive.* got \(1.0, 0.0\)"),
        (lambda: NativeGrid((4, 4), (1.0, -1.0), (0.0, 0.0)), "for a flipped axis flip the logits first"),
        (lambda: NativeGrid((4, 4), (1.0, 1.0), (0.0, float("nan"))), "offset finite on every axis"),
        (lambda: NativeGrid.same_extent((4, 4), (4, 4, 4)), r"positive sizes, as many .* got \(4, 4, 4\) and \(4, 4\)"),
        (lambda: NativeGrid.same_extent((4, 0), (4, 4)), "expected positive sizes"),
        (
            lambda: NativeGrid.same_origin((4, 4), spacing=(1.0, 1.0), working_spacing=(1.0, 0.0)),
            "expected positive spacings",
        ),
    ],
)
def test_a_grid_that_cannot_be_is_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_grid_of_another_rank_than_the_image_is_explained_before_the_network_runs():
    grid = NativeGrid.same_extent((8, 8, 8), (4, 4, 4))
    with pytest.raises(ValueError, match=r"\(8, 8, 8\) needs as many axes as the image, \(4, 4\)"):
        sliding_window(pytest.fail, torch.zeros(1, 4, 4), roi_size=4, reduce="labels", native=grid)


@pytest.mark.parametrize(("size", "native_size"), SIZES[3:], ids=str)
@pytest.mark.parametrize("reduce", [keep, labels], ids=["logits", "labels"])
def test_along_an_axis_of_nearest_planes_logits_are_not_interpolated(size, native_size, reduce):
    logits = make_logits(size)
    grid = NativeGrid.same_extent(native_size, size, nearest=(0,))
    places = size[0] / native_size[0] * (np.arange(native_size[0]) + 0.5) - 0.5
    chosen = map_coordinates(np.arange(size[0]), [places], order=0, mode="nearest")
    within = F.interpolate(logits.movedim(1, 0), native_size[1:], mode="bilinear").movedim(0, 1)
    for axis in range(3):
        assert_close(restore(logits, grid, reduce=reduce, axis=axis), reduce(within[:, chosen]))


def test_nearest_planes_are_along_axes_that_there_are():
    with pytest.raises(ValueError, match=r"nearest must name axes, 0 to 1, got \(2,\)"):
        NativeGrid.same_extent((4, 4), (2, 2), nearest=(2,))


def test_probabilities_may_be_interpolated_in_the_place_of_logits():
    logits = torch.tensor([[0.0, 9.0], [4.0, 0.0]])[:, :, None]  # two classes at two places
    grid = NativeGrid((4, 1), (1 / 3, 1.0), (0.0, 0.0))

    def restore(grid):
        restorer = Restorer(grid, working_size=(2, 1), axis=0, reduce=labels)
        return torch.cat([part for _, part in restorer.push(0, logits)])[:, 0].tolist()

    assert restore(grid) == [1, 0, 0, 0]  # 4 and 9 are far apart
    assert restore(replace(grid, probabilities=True)) == [1, 1, 0, 0]  # both are nearly certain
