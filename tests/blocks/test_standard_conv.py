"""Standardised kernels: what they are, that they follow their weights though they are kept, and SAME padding."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.standard_conv import STANDARD_CONV, standardise


def make():
    torch.manual_seed(0)
    return STANDARD_CONV[2](3, 4, 3, stride=2, bias=False, same=True).eval()


def convolved(weight, image):
    return F.conv2d(F.pad(image, [0, 1, 0, 1]), standardise(weight), stride=2)


def test_each_kernel_has_a_mean_of_zero_and_a_variance_of_one():
    kernels = make().kernels().flatten(1)
    torch.testing.assert_close(kernels.mean(1), torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(kernels.var(1, correction=0), torch.ones(4), atol=1e-5, rtol=0)


def in_place(conv):
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] += 1


def by_loading(conv):
    conv.load_state_dict({"weight": torch.randn(4, 3, 3, 3)})


def by_assigning(conv):
    conv.load_state_dict({"weight": torch.randn(4, 3, 3, 3)}, assign=True)


def by_data(conv):
    conv.weight.data = torch.randn(4, 3, 3, 3)


def there_and_back(conv):
    conv.half().float()


def by_a_step(conv):
    conv(torch.randn(1, 3, 8, 8)).square().sum().backward()
    torch.optim.SGD(conv.parameters(), lr=0.1).step()


@pytest.mark.parametrize("change", [in_place, by_loading, by_assigning, by_data, there_and_back, by_a_step])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_kept_kernels_follow_every_change_of_the_weights(change, mode):
    conv, image = make(), torch.randn(1, 3, 8, 8)
    with mode():
        before = conv(image)
        assert conv.kernels() is conv.kernels()
    change(conv)
    with mode():
        after = conv(image)
        assert not torch.equal(before, after)
        torch.testing.assert_close(after, convolved(conv.weight, image))


def test_nothing_kept_is_saved_or_copied():
    conv = make()
    with torch.inference_mode():
        conv(torch.randn(1, 3, 8, 8))
    copied = deepcopy(conv)
    assert list(conv.state_dict()) == ["weight"]
    in_place(copied)
    with torch.inference_mode():
        assert not torch.equal(copied.kernels(), conv.kernels())


def test_gradients_reach_the_weights_after_a_forward_without_them():
    conv, image = make(), torch.randn(1, 3, 8, 8)
    with torch.inference_mode():
        conv(image)
    conv(image).sum().backward()
    assert conv.weight.grad.abs().sum() > 0


@pytest.mark.parametrize("size", [(8, 8), (9, 8), (9, 11)])
def test_the_larger_half_of_the_padding_is_at_the_far_end(size):
    conv, image = make(), torch.randn(1, 3, *size)
    (top, left), padded = (s % 2 for s in size), F.pad(image, [1, 1, 1, 1])
    theirs = F.conv2d(padded[:, :, 1 - top :, 1 - left :], standardise(conv.weight), stride=2)
    assert conv(image).shape[2:] == tuple(-(-s // 2) for s in size)
    torch.testing.assert_close(conv(image), theirs)
