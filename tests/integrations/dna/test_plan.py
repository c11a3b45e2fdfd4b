"""Stages of nnU-Net's U-Nets as its planner gives them."""

import pytest

from densevit.integrations.dna.plan import plan_stages


@pytest.mark.parametrize(
    ("crop_size", "spacing", "divisor", "strides"),
    [
        ((40, 56, 40), (1, 1, 1), (8, 8, 8), [(1, 1, 1)] + 3 * [(2, 2, 2)]),  # the Decathlon's Hippocampus
        ((128, 128, 128), (1, 1, 1), (32, 32, 32), [(1, 1, 1)] + 5 * [(2, 2, 2)]),  # brain tumours
        ((10, 256, 224), (10, 1.5, 1.5), (2, 32, 32), [(1, 1, 1), *2 * [(1, 2, 2)], (2, 2, 2), *2 * [(1, 2, 2)]]),
        ((512, 512), (1, 1), (128, 128), [(1, 1)] + 7 * [(2, 2)]),
        ((12, 4), (1, 1), (2, 1), [(1, 1), (2, 1)]),
        ((11, 4), (1, 1), (1, 1), [(1, 1)]),
    ],
)
def test_an_axis_is_halved_while_it_is_long_and_its_voxels_are_fine(crop_size, spacing, divisor, strides):
    stages = plan_stages(crop_size, spacing)
    assert stages.divisor == divisor
    assert list(stages.strides) == strides


def test_kernels_reach_along_an_axis_once_its_voxels_are_not_much_longer():
    stages = plan_stages((16, 128, 128), (5, 1, 1))
    assert stages.kernel_sizes == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3))
