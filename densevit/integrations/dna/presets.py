"""Crops and batches as nnU-Net's presets choose them: as large as the memory that a preset may fill.

https://arxiv.org/abs/2404.09556 has the presets; memory is what nnU-Net estimates, the numbers in all feature maps.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch

from densevit.integrations.dna.networks import planned_unet
from densevit.integrations.dna.plan import plan_stages
from densevit.registry import check_known


class Preset(NamedTuple):
    """How many numbers the feature maps of one image may have in pictures and volumes, by the rank; which network."""

    most: dict[int, int]
    network: str = "dna.ResEncUNet"
    covered: float = 1.0  # share of the set's voxels that one batch may have


PRESETS = {
    "PlainConv": Preset({2: 85_000_000, 3: 560_000_000}, network="dna.PlainConvUNet", covered=0.05),
    "ResEncM": Preset({2: 135_000_000, 3: 680_000_000}),
    "ResEncL": Preset({2: 380_000_000, 3: 2_100_000_000}),
    "ResEncXL": Preset({2: 560_000_000, 3: 3_600_000_000}),
}
LARGEST = {2: 2048, 3: 256}  # where the search begins, as the edge of a square or cube
BATCH = {2: 12, 3: 2}  # for which `most` holds
SMALLEST_BATCH = 2


def plan_crop(
    preset: str,
    median_size: Sequence[int],
    *,
    spacing: Sequence[float],
    in_channels: int,
    num_classes: int,
    num_images: int,
) -> tuple[tuple[int, ...], int]:
    """Size of crops and of the batch for `num_images` images of `median_size` voxels of `spacing` millimetres.

    ValueError for a preset that is not in PRESETS.
    """
    check_known(preset, PRESETS, what="no preset named")
    rank, chosen = len(median_size), PRESETS[preset]
    edge = LARGEST[rank] * prod(spacing) ** (1 / rank)
    crop = _filled([min(round(edge / s), n) for s, n in zip(spacing, median_size, strict=True)], spacing)
    while (cells := _count_cells(crop, spacing, chosen, in_channels, num_classes)) > chosen.most[rank]:
        crop = _smaller(crop, spacing, median_size)
    room = round(chosen.most[rank] / cells * BATCH[rank])
    enough = round(num_images * prod(median_size) * chosen.covered / prod(crop))
    return crop, max(min(room, enough), SMALLEST_BATCH)


def _filled(size: Sequence[int], spacing: Sequence[float]) -> tuple[int, ...]:
    """The size, each axis rounded up to what its stages divide by."""
    return tuple(-(-n // d) * d for n, d in zip(size, plan_stages(size, spacing).divisor, strict=True))


def _smaller(crop: Sequence[int], spacing: Sequence[float], median_size: Sequence[int]) -> tuple[int, ...]:
    """A step less of the axis that has most of the median size; the step is that of the stages which follow."""
    axis = max(range(len(crop)), key=lambda i: (crop[i] / median_size[i], i))
    step = [plan_stages(crop, spacing).divisor[i] if i == axis else 0 for i in range(len(crop))]
    shorter = [n - s for n, s in zip(crop, step, strict=True)]
    step[axis] = plan_stages(shorter, spacing).divisor[axis]
    return _filled([n - s for n, s in zip(crop, step, strict=True)], spacing)


def _count_cells(
    crop: Sequence[int], spacing: Sequence[float], preset: Preset, in_channels: int, num_classes: int
) -> int:
    with torch.device("meta"):
        model = planned_unet(
            spatial_dims=len(crop),
            in_channels=in_channels,
            num_classes=num_classes,
            residual=preset.network == "dna.ResEncUNet",
            crop_size=tuple(crop),
            spacing=tuple(spacing),
        )
    return int(model.network.compute_conv_feature_map_size(crop))
