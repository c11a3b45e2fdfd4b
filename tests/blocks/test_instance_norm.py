"""Instance norm: one result and one gradient, whatever the layout, the device's path and the size."""

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks.residual_conv import instance_norm

SIZES = [(2, 3, 5, 7), (1, 4, 1, 6), (2, 3, 4, 5, 6), (1, 5, 3, 1, 1)]
LARGE = [(2, 3, 500, 300), (1, 2, 40, 90, 80)]  # of several slabs, the last one incomplete


def image_of(size, *, dtype=torch.float64, seed=0):
    return 3 + torch.randn(size, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def channels_last(image):
    return image.movedim(1, -1).contiguous().movedim(-1, 1)


def by_definition(image, residual=None, slope=1.0):
    axes = tuple(range(2, image.ndim))
    centred = image - image.mean(axes, keepdim=True)
    normed = centred / (centred.square().mean(axes, keepdim=True) + 1e-5).sqrt()
    return F.leaky_relu(normed if residual is None else normed + residual, slope)


@pytest.mark.parametrize("layout", [channels_last, torch.Tensor.contiguous], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", SIZES + LARGE, ids=str)
@pytest.mark.parametrize("grad", [False, True])
def test_the_result_is_that_of_the_definition(size, layout, grad):
    image, residual = layout(image_of(size)), layout(image_of(size, seed=1))
    plain, full = by_definition(image), by_definition(image, residual, 0.01)
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(instance_norm(image.clone()), plain, rtol=0, atol=1e-12)
        total = instance_norm(image.clone(), residual=residual, slope=0.01)
    torch.testing.assert_close(total, full, rtol=0, atol=1e-12)


@pytest.mark.parametrize("layout", [channels_last, torch.Tensor.contiguous], ids=["channels last", "channels first"])
@pytest.mark.parametrize("size", [(2, 2, 3, 2), (1, 2, 2, 3, 2), (1, 2, 1, 1)], ids=str)
def test_gradients_are_those_of_finite_differences(size, layout):
    image = layout(image_of(size)).requires_grad_()
    residual = layout(image_of(size, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: instance_norm(x, slope=0.3), image)
    assert torch.autograd.gradcheck(lambda x, r: instance_norm(x, residual=r, slope=0.3), (image, residual))


@pytest.mark.parametrize("size", LARGE, ids=str)
def test_gradients_of_a_large_image_are_those_of_the_definition(size):
    found, expected = (channels_last(image_of(size)).requires_grad_() for _ in range(2))
    weight = image_of(size, seed=1)
    (instance_norm(found, slope=0.3) * weight).sum().backward()
    (by_definition(expected, slope=0.3) * weight).sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layout", [channels_last, torch.Tensor.contiguous], ids=["channels last", "channels first"])
def test_a_gradient_of_another_layout_than_the_images_is_understood(layout):
    image, gradient = layout(image_of((2, 3, 4, 5))).requires_grad_(), image_of((2, 3, 4, 5), seed=1)
    found = [
        torch.autograd.grad(instance_norm(image), image, arrange(gradient))[0]
        for arrange in (channels_last, torch.Tensor.contiguous)
    ]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("size", [(1, 3, 1, 1), (2, 3, 1, 1, 1)], ids=str)
def test_a_single_pixel_becomes_zero(size, grad):
    for layout in (channels_last, torch.Tensor.contiguous):
        image = layout(image_of(size)).requires_grad_(grad)
        normed = instance_norm(image)
        assert torch.equal(normed, torch.zeros(size, dtype=torch.float64))
        if grad:
            normed.sum().backward()
            assert torch.equal(image.grad, torch.zeros(size, dtype=torch.float64))


@pytest.mark.parametrize("grad", [False, True])
def test_a_channel_far_from_zero_keeps_its_digits(grad):
    image = channels_last(1000 + image_of((1, 2, 8, 9, 10), dtype=torch.float32))
    with torch.set_grad_enabled(grad):
        normed = instance_norm(image.clone(memory_format=torch.preserve_format).requires_grad_(grad))
    torch.testing.assert_close(normed.double(), by_definition(image.double()), rtol=0, atol=1e-5)


def air(*, body=0.0):
    """Channels of one value each, float32, with noise in a corner: the columns are long, as those of a scan."""
    image = image_of((1, 16, 1, 1, 1), dtype=torch.float32).expand(1, 16, 48, 48, 48)
    image = channels_last(image.clone(memory_format=torch.contiguous_format))
    image[..., :16, :16, :16] += body * torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(1))
    return image


@pytest.mark.parametrize(("body", "atol"), [(0, 1e-7), (1e-3, 1e-5), (1, 1e-5)])
def test_nearly_constant_channels_keep_their_digits(body, atol):
    image = air(body=body)
    expected = by_definition(image.double())
    learned = instance_norm(image.clone(memory_format=torch.preserve_format).requires_grad_()).detach()
    with torch.inference_mode():
        seen = instance_norm(image)
    for normed in (learned, seen):
        torch.testing.assert_close(normed.double(), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("body", [0, 1])
@pytest.mark.parametrize("weight_body", [0, 1])
def test_gradients_of_nearly_constant_channels_keep_their_digits(body, weight_body):
    weight = air(body=weight_body)
    found, expected = air(body=body).requires_grad_(), air(body=body).double().requires_grad_()
    instance_norm(found).backward(weight)
    by_definition(expected).backward(weight.double())
    scale = torch.rsqrt(expected.detach().var((2, 3, 4), correction=0) + 1e-5).max().item()  # 300 of constant ones
    torch.testing.assert_close(found.grad.double(), expected.grad, rtol=0, atol=1e-6 * scale)
