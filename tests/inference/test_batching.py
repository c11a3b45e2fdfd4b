"""How many windows share a forward: measured, halved where memory runs out, and the result is the same."""

import logging
import weakref

import pytest
import torch
from torch.testing import assert_close

from densevit.inference import accelerate, on_views, sliding_window
from densevit.inference.batching import BatchSize, Trial, solve_batch
from tests.inference.common import Recorder, make_image, make_network

SIZE, ROI = (24, 30, 26), (12, 12, 12)
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    MemoryError("no more"),
]


class Hungry:
    """A network that has no memory for more than `most` windows at once."""

    def __init__(self, network, most, error):
        self.network, self.most, self.error, self.sizes = network, most, error, []

    def __call__(self, windows):
        self.sizes.append(len(windows))
        if len(windows) > self.most:
            raise self.error
        return self.network(windows)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("reduce", ["logits", "labels"])
def test_out_of_memory_halves_the_batch_says_so_and_loses_nothing(error, reduce, caplog):
    network, image = make_network(3), make_image(SIZE)
    expected = sliding_window(network, image, roi_size=ROI, reduce=reduce, batch_size=1)
    hungry = Hungry(network, 3, error)
    with caplog.at_level(logging.WARNING, "densevit"):
        result = sliding_window(hungry, image, roi_size=ROI, reduce=reduce, batch_size=8)
    assert_close(result, expected, rtol=0, atol=1e-5)
    assert hungry.sizes[:3] == [8, 4, 2]
    assert max(hungry.sizes[3:]) == 2
    assert "out of memory with 8 windows at once; going on with 4" in caplog.text


@pytest.mark.parametrize("reduce", ["logits", "labels"])
def test_nothing_of_a_forward_is_alive_during_the_next_one(reduce):
    network, made, alive = make_network(3), [], []

    def watched(windows):
        alive.append(sum(reference() is not None for reference in made))
        if len(windows) == 4:
            made.append(weakref.ref(activation := windows * 2))
            raise RuntimeError(f"can't allocate memory, {activation.shape} is too much")
        made.append(weakref.ref(logits := network(windows)))
        return logits

    sliding_window(watched, make_image(SIZE), roi_size=ROI, reduce=reduce, batch_size=4)
    assert len(alive) > 10
    assert set(alive) == {0}


def test_one_window_that_does_not_fit_is_explained():
    with pytest.raises(MemoryError, match=r"not enough memory for one window: CUDA out of memory.*smaller roi_size"):
        sliding_window(Hungry(None, 0, OUT_OF_MEMORY[0]), make_image(SIZE), roi_size=ROI, batch_size=2)


def test_other_errors_of_the_network_are_not_taken_for_memory():
    hungry = Hungry(None, 0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        sliding_window(hungry, make_image(SIZE), roi_size=ROI, batch_size=2)
    assert hungry.sizes == [2]


def test_automatic_batches_run_one_window_twice_then_two_then_what_was_solved():
    network = Recorder(make_network(3))
    sliding_window(network, make_image(SIZE), roi_size=ROI, batch_size="auto")
    sizes = [shape[0] for shape in network.shapes]
    assert sizes[:3] == [1, 1, 2]
    assert len(set(sizes[3:-1])) <= 1
    assert sum(sizes) == 3 * 4 * 4


@pytest.mark.parametrize(
    ("one", "two", "room", "expected"),
    [
        ((1.0, 100), (1.0, 150), 10_000, 1),  # two at once are no faster
        ((1.0, 100), (0.5, 150), 10_000, 16),  # room for many: no more than pay
        ((1.0, 100), (0.5, 150), 375, 5),  # 100 + 4 * 50 = 300 of 0.8 * 375
        ((1.0, 100), (0.5, 150), 90, 1),  # not even one, by the measure; it did run
        ((1.0, 100), (0.5, 90), 500, 14),  # noise: a further window never costs nothing
    ],
)
def test_the_batch_fills_the_memory_where_larger_batches_are_faster(one, two, room, expected):
    assert solve_batch(Trial(1, *one), Trial(2, *two), room) == expected


def test_a_fixed_batch_shows_the_network_one_shape():
    network, image = Recorder(make_network(3)), make_image(SIZE)
    for reduce in ("logits", "labels"):
        network.shapes.clear()
        fixed = sliding_window(network, image, roi_size=ROI, batch_size=5, fixed_batch=True, reduce=reduce)
        assert {shape[0] for shape in network.shapes} == {5}
        assert_close(
            fixed, sliding_window(network, image, roi_size=ROI, batch_size=1, reduce=reduce), rtol=0, atol=1e-5
        )


def test_a_batch_that_was_halved_stays_of_one_shape():
    size = BatchSize(8)
    size.halve("no more")
    assert (size.size, size.measuring) == (4, False)


# Views of each window.


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 1.5)], ids=str)
def test_every_window_is_seen_flipped_and_scaled_and_the_logits_are_averaged(batch_size, scales):
    network, image = make_network(3), make_image(SIZE)
    flips = [(0,), (-1,), (0, 1, 2)]
    views = on_views(network, flips=[f if len(f) > 1 else f[0] for f in flips], scales=scales)
    result = sliding_window(views, image, roi_size=ROI, batch_size=batch_size)

    def mean(windows):
        total = 0
        for scale in scales:
            size = [int(s * scale + 0.5) for s in ROI]
            scaled = torch.nn.functional.interpolate(windows, size, mode="trilinear")
            for axes in [(), *flips]:
                dims = [a % 3 + 2 for a in axes]
                logits = network(scaled.flip(dims)).flip(dims)
                total = total + torch.nn.functional.interpolate(logits, ROI, mode="trilinear")
        return total / (len(flips) + 1) / len(scales)

    assert_close(result, sliding_window(mean, image, roi_size=ROI, batch_size=1), rtol=0, atol=1e-5)


def test_flipped_windows_share_a_forward_with_the_others():
    network = Recorder(make_network(2))
    on_views(network, flips=(0, 1, (0, 1)))(torch.zeros(3, 2, 8, 9))
    assert network.shapes == [(12, 2, 8, 9)]


def test_views_that_cannot_be_are_explained():
    with pytest.raises(ValueError, match=r"scales must be positive factors .* got \(0,\)"):
        on_views(lambda x: x, scales=(0,))
    with pytest.raises(ValueError, match="flips must name spatial axes, -2 to 1, each once, got 2"):
        on_views(lambda x: x, flips=(2,))(torch.zeros(1, 1, 4, 4))


# Faster networks.


def test_channels_last_and_compiled_networks_give_the_same_logits():
    network, image = make_network(3), make_image(SIZE)
    expected = sliding_window(network, image, roi_size=ROI)
    options = dict(roi_size=ROI, batch_size=4, fixed_batch=True)
    for fast in (accelerate(network, channels_last=True), accelerate(network, compile="default")):
        assert_close(sliding_window(fast, image, **options), expected, rtol=0, atol=1e-5)


def test_channels_last_windows_reach_the_network_so():
    seen = []
    accelerate(lambda x: seen.append(x) or x, channels_last=True)(torch.zeros(2, 3, 4, 5, 6))
    assert seen[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_mixed_precision_is_switched_on_for_the_network_alone():
    network, image = make_network(2), make_image((20, 20))
    seen = []
    fast = accelerate(lambda x: seen.append(network(x)) or seen[-1], amp="bf16")
    result = sliding_window(fast, image, roi_size=(8, 8))
    assert (seen[0].dtype, result.dtype) == (torch.bfloat16, torch.float32)
    with pytest.raises(ValueError, match="amp must be one of bf16, fp16 or None, got 'half'"):
        accelerate(network, amp="half")
