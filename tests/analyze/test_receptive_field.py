"""Effective receptive fields are those of theory where there is one, in every rank."""

import numpy as np
import pytest
import torch
from torch import nn

import densevit
from densevit.analyze import receptive_fields
from densevit.blocks import nd


def stacked(rank, *kernels, stride=1):
    layers = [nd.CONV[rank](1, 1, k, stride, padding=k // 2 if stride == 1 else 0, bias=False) for k in kernels]
    for layer in layers:
        nn.init.ones_(layer.weight)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("rank", [2, 3])
def test_one_convolution_sees_its_kernel_and_no_more(rank):
    (found,) = receptive_fields(stacked(rank, 3), [torch.randn(1, *[11] * rank)])
    inside = np.zeros([11] * rank, bool)
    inside[(slice(4, 7),) * rank] = True
    assert np.array_equal(found.energy > 0, inside)
    assert found.size(1.0) == 3
    assert found.energy.sum() == pytest.approx(1)


@pytest.mark.parametrize("rank", [2, 3])
def test_stacked_convolutions_see_the_convolved_kernels(rank):
    kernels = (3, 5, 3)
    (found,) = receptive_fields(stacked(rank, *kernels), [torch.randn(1, *[15] * rank)])
    line = np.ones(1)
    for kernel in kernels:
        line = np.convolve(line, np.ones(kernel) / kernel)
    line = np.pad(line, (15 - len(line)) // 2)
    expected = line
    for _ in range(rank - 1):
        expected = expected[..., None] * line
    np.testing.assert_allclose(found.energy, expected**2 / (expected**2).sum(), atol=1e-7)
    assert found.size(1.0) == 1 + sum(k - 1 for k in kernels)
    assert found.size(0.5) < found.size(0.9) <= found.size(1.0) < found.largest == 15


def test_the_centre_of_a_strided_output_lies_between_pixels():
    (found,) = receptive_fields(stacked(2, 4, stride=4), [torch.randn(1, 20, 36)])
    assert found.centre == (10.0, 18.0)
    assert found.size(1.0) == 4
    assert found.energy[8:12, 16:20].sum() == pytest.approx(1)


def test_energies_of_images_are_added_up():
    class SumOfSquares(nn.Module):
        def forward(self, x):
            return (x * x).sum((2, 3), keepdim=True)  # whose gradient is the image, twice

    images = [torch.randn(1, 3, 4) for _ in range(2)]
    (found,) = receptive_fields(SumOfSquares(), images)
    expected = sum(image[0].double().square() for image in images)
    np.testing.assert_allclose(found.energy, expected / expected.sum(), rtol=1e-6)


def test_channels_that_are_normed_to_a_constant_sum_are_seen_through():
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.LayerNorm(8)

        def forward(self, x):
            return nd.to_image(self.norm(nd.to_grid(self.conv(x))))

    torch.manual_seed(0)
    (found,) = receptive_fields(Normed(), [torch.randn(1, 9, 9)])
    assert found.size(1.0) == 3


@pytest.mark.parametrize("rank", [2, 3])
def test_a_segmentor_has_fields_of_every_stage_of_the_decoder_and_of_the_logits(rank):
    torch.manual_seed(0)
    options = dict(spatial_dims=rank, in_channels=1, decoder_options=dict(dim=8))
    model = densevit.create_segmentor("mit_b0", "all_mlp", num_classes=2, **options).train()
    found = receptive_fields(model, [torch.randn(1, *[32] * rank)])
    assert [each.name for each in found] == ["stage 1", "stage 2", "stage 3", "stage 4", "decoder", "logits"]
    assert all(each.energy.shape == found[0].energy.shape for each in found)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_nothing_to_average_and_nothing_that_moves_are_refused():
    with pytest.raises(ValueError, match="averaged over images, and none was given"):
        receptive_fields(stacked(2, 3), [])
    with pytest.raises(ValueError, match="no pixel moves the centre of output"):
        receptive_fields(stacked(2, 3), [torch.zeros(1, 4, 4)], outputs=lambda x: {"output": x * 0})
