"""The convolutional residual block against its equations, along each of its paths."""

import pytest
import torch
import torch.nn.functional as F

from densevit.blocks import nd
from densevit.blocks.residual_conv import ResidualConv, convolve

SIZES = {2: (7, 9), 3: (5, 4, 6)}


def block(spatial_dims, *, in_channels=3, out_channels=4):
    torch.manual_seed(0)
    return ResidualConv(spatial_dims, in_channels, out_channels)


def picture(spatial_dims, *, channels=3, batch=2):
    return torch.randn(batch, channels, *SIZES[spatial_dims], generator=torch.Generator().manual_seed(1))


def by_definition(block, x):
    """In double precision, with torch's own operators."""
    conv = nd.CONVOLVE[x.ndim - 2]
    weights = {name: p.detach().double() for name, p in block.named_parameters()}
    x = x.double()
    y = F.leaky_relu(F.instance_norm(conv(x, weights["conv1.weight"], padding=1)), 0.01)
    y = F.instance_norm(conv(y, weights["conv2.weight"], padding=1))
    shortcut = F.instance_norm(conv(x, weights["conv3.weight"])) if "conv3.weight" in weights else x
    return F.leaky_relu(y + shortcut, 0.01)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("widths", [(3, 4), (4, 4), (1, 3)], ids=str)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_block_is_its_equations(spatial_dims, batch, widths, grad):
    ours, x = (
        block(spatial_dims, in_channels=widths[0], out_channels=widths[1]),
        picture(spatial_dims, channels=widths[0], batch=batch),
    )
    expected = by_definition(ours, x)
    with torch.set_grad_enabled(grad):
        for image in (x, x.to(memory_format=nd.CHANNELS_LAST[spatial_dims])):
            before = image.clone()
            assert (ours(image) - expected).abs().max() <= 2e-6
            assert torch.equal(image, before)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_shortcut_is_the_input_itself_where_widths_agree(spatial_dims):
    assert block(spatial_dims, in_channels=4).conv3 is None
    assert block(spatial_dims, in_channels=3).conv3.weight.shape == (4, 3, *[1] * spatial_dims)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_convolution_and_its_gradients_are_torchs(spatial_dims, channels, kernel, bias):
    conv = nd.CONV[spatial_dims](channels, 3, kernel, padding=kernel // 2, bias=bias)
    x = picture(spatial_dims, channels=channels, batch=1).requires_grad_()
    inputs = (x, *conv.parameters())
    found, expected = convolve(x, conv), conv(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    gradient = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(found, inputs, gradient), torch.autograd.grad(expected, inputs, gradient), strict=True
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_autocast_is_obeyed(spatial_dims):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = block(spatial_dims)(picture(spatial_dims))
    expected = by_definition(block(spatial_dims), picture(spatial_dims))
    assert (y.double() - expected).abs().max() <= 0.1
    assert convolve(picture(spatial_dims), block(spatial_dims).conv1).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert convolve(picture(spatial_dims), block(spatial_dims).conv1).dtype == torch.bfloat16
