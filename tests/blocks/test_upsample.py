"""The sum of a pyramid's levels is the same number whichever way it is made."""

import pytest
import torch
import torch.nn.functional as F
from torch._subclasses import FakeTensorMode

from densevit.blocks.pyramid import _strip_weights, upsampled_sum

SIZES = [
    [(16, 24), (8, 12), (4, 6), (2, 3)],
    [(33, 50), (17, 25), (9, 13)],
    [(1, 1), (1, 1)],
    [(40, 7), (3, 5)],
    [(20, 12, 18), (10, 6, 9), (5, 3, 5)],
    [(17, 5, 3), (9, 3, 2)],
]


def levels_of(sizes, *, batch=2, channels=5):
    torch.manual_seed(0)
    return [torch.randn(batch, *size, channels) for size in sizes]


def plain_sum(levels):
    size = levels[0].shape[1:-1]
    mode = {2: "bilinear", 3: "trilinear"}[len(size)]
    images = [level.movedim(-1, 1) for level in levels]
    return sum(F.interpolate(image, size=size, mode=mode, align_corners=False) for image in images).movedim(1, -1)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_levels_are_resized_and_added_without_gradients(sizes):
    expected = plain_sum(levels_of(sizes))
    with torch.inference_mode():
        assert torch.allclose(upsampled_sum(levels_of(sizes)), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_levels_are_resized_and_added_with_gradients(sizes):
    levels = [level.requires_grad_() for level in levels_of(sizes)]
    total = upsampled_sum(levels)
    torch.testing.assert_close(total, plain_sum(levels))
    total.square().sum().backward()
    assert all(level.grad.abs().sum() > 0 for level in levels)


def test_a_network_first_used_without_gradients_can_be_trained_afterwards():
    sizes = [(16, 16), (8, 8)]
    with torch.inference_mode():
        upsampled_sum(levels_of(sizes))
    levels = [level.requires_grad_() for level in levels_of(sizes)]
    with torch.no_grad():
        expected = upsampled_sum([level.detach().clone() for level in levels])
    torch.testing.assert_close(upsampled_sum(levels), expected, atol=2e-6, rtol=0)


@pytest.fixture
def double_by_default():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double_by_default")
def test_the_callers_default_device_and_type_do_not_matter():
    levels = [level.float() for level in levels_of(SIZES[1])]
    expected = plain_sum(levels)
    _strip_weights.cache_clear()
    with torch.no_grad(), torch.device("meta"):
        total = upsampled_sum(levels)
    assert torch.allclose(total, expected, atol=2e-6, rtol=0)


def test_fake_tensors_are_summed_and_leave_nothing_behind():
    levels = levels_of(SIZES[1])
    expected = plain_sum(levels)
    _strip_weights.cache_clear()
    with torch.no_grad():
        with FakeTensorMode() as mode:
            assert upsampled_sum([mode.from_tensor(level) for level in levels]).shape == levels[0].shape
        assert torch.allclose(upsampled_sum(levels), expected, atol=2e-6, rtol=0)


def test_half_precision_is_summed_too():
    levels = [level.bfloat16() for level in levels_of(SIZES[0])]
    with torch.inference_mode():
        total = upsampled_sum([level.clone() for level in levels])
    assert total.dtype == torch.bfloat16
    assert torch.allclose(total.float(), plain_sum([level.float() for level in levels]), atol=0.05, rtol=0.02)


def test_a_single_level_is_returned_as_it_is():
    (level,) = levels_of([(4, 6)])
    with torch.inference_mode():
        assert torch.equal(upsampled_sum([level.clone()]), level)
