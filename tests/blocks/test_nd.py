"""The n-dimensional helpers: every "do" has its "undo", and wrong lengths are loud."""

import pytest
import torch

from densevit.blocks import nd

IMAGES = [(2, 3, 5, 7), (2, 3, 4, 5, 6)]


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_grid_and_image_undo_each_other(shape):
    image = torch.randn(shape)
    assert nd.to_grid(image).shape == (shape[0], *shape[2:], shape[1])
    assert torch.equal(nd.to_image(nd.to_grid(image)), image)


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_a_contiguous_grid_is_a_channels_last_image_without_a_copy(shape):
    grid = nd.to_grid(torch.randn(shape)).contiguous()
    image = nd.to_image(grid)
    layout = {4: torch.channels_last, 5: torch.channels_last_3d}[len(shape)]
    assert image.data_ptr() == grid.data_ptr()
    assert image.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_resizing_keeps_a_constant_constant(shape):
    resized = nd.resize(torch.full(shape, 2.5), [2 * s + 1 for s in shape[2:]])
    torch.testing.assert_close(resized, torch.full_like(resized, 2.5))


@pytest.mark.parametrize("shape", IMAGES, ids=str)
def test_resizing_to_the_same_size_is_free(shape):
    image = torch.randn(shape)
    assert nd.resize(image, shape[2:]) is image


def test_padding_fills_short_axes_only_and_at_their_far_end():
    grid = torch.ones(1, 3, 9, 2)
    padded = nd.pad_to_at_least(grid, (5, 4))
    assert padded.shape == (1, 5, 9, 2)
    assert torch.equal(padded[:, :3], grid)
    assert padded[:, 3:].abs().sum() == 0


def test_an_int_stands_for_every_axis_and_a_wrong_length_is_an_error():
    assert nd.ntuple(3, 2) == (3, 3)
    assert nd.ntuple((1, 2, 3), 3) == (1, 2, 3)
    with pytest.raises(ValueError, match="expected 2 values, one per spatial dimension"):
        nd.ntuple((1, 2, 3), 2)
