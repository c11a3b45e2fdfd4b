"""Group norm keeps its digits whatever the layout, also in networks whose weights were laid out with channels last."""

import pytest
import torch

import densevit
from densevit.blocks.group_norm import GroupNorm


@pytest.mark.parametrize("num_groups", [4, 32])
def test_images_with_channels_last_in_memory_are_normed_as_exactly_as_others(num_groups):
    image, norm = 3 * torch.randn(2, 32, 40, 48) + 5, GroupNorm(num_groups, 32)
    expected = torch.nn.functional.group_norm(image.double(), num_groups).float()
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.testing.assert_close(norm(image.contiguous(memory_format=layout)), expected, rtol=0, atol=2e-6)


def test_primus_of_convolutions_keeps_its_digits_with_channels_last():
    options = dict(stem_dims=(8, 8, 16, 32), dim=48, depth=4, num_heads=4, image_size=32, spatial_dims=3, in_channels=1)
    torch.manual_seed(0)
    model, image = densevit.create_backbone("primus_v3_small", **options).eval(), torch.rand(1, 1, 32, 32, 32) + 1
    with torch.no_grad():
        expected = [level.float() for level in model.double()(image.double())]
        model.float().to(memory_format=torch.channels_last_3d)
        for found, level in zip(model(image), expected, strict=True):
            assert (found - level).abs().max() <= 1e-5 * level.abs().max()
