"""A patch embedding of either kind gives one cell for every started patch, whatever the size."""

from math import ceil

import pytest
import torch

from densevit.blocks.transformer import PatchEmbed


@pytest.mark.parametrize("kernel_size", [4, 7], ids=["plain", "overlapping"])
@pytest.mark.parametrize("size", [(8, 12), (9, 3), (1, 1), (5, 8, 1)], ids=str)
def test_every_started_patch_is_a_cell(size, kernel_size):
    embed = PatchEmbed(len(size), 3, 6, kernel_size=kernel_size, stride=4)
    assert embed(torch.randn(2, *size, 3)).shape == (2, *(ceil(s / 4) for s in size), 6)


def test_plain_patches_see_zeros_beyond_the_end():
    embed = PatchEmbed(2, 3, 6, kernel_size=4, stride=4)
    grid = torch.randn(1, 5, 7, 3)
    padded = torch.zeros(1, 8, 8, 3)
    padded[:, :5, :7] = grid
    assert torch.equal(embed(grid), embed(padded))
