"""How much each window counts at each pixel: weights that sum to 1 over the windows of every pixel."""

from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from densevit.inference.grid import Axis, all_windows, covered, inside

# Index of a window, one number per axis -> its weights (*S_window) over the part of it that lies inside the image.
Blend = Callable[[tuple[int, ...]], Tensor]


def gaussian(roi: int, sigma: float = 0.125) -> Tensor:
    """(roi,) float64: 1 at the centre; `sigma` is a fraction of the roi."""
    x = (torch.arange(roi, dtype=torch.float64) - (roi - 1) / 2) / (sigma * roi)
    return torch.exp(-0.5 * x**2)


def constant(roi: int) -> Tensor:
    """(roi,) float64 of ones."""
    return torch.ones(roi, dtype=torch.float64)


PROFILES = {"constant": constant, "gaussian": gaussian}


def make_blend(axes: Sequence[Axis], *, profile: str, floor: float, device: torch.device) -> Blend:
    """Weights from one profile per axis, never below `floor`, summing to 1 over the windows of each pixel.

    Without a floor each axis is normalised by itself and so is the product: no map of counts, no division pass.
    MONAI keeps a floor of 1e-3 under the product, which is not separable and costs a map of the whole image.
    """
    profiles = [PROFILES[profile](axis.roi) for axis in axes]
    if floor == 0:
        return _separable_blend(axes, profiles, device)
    return _mapped_blend(axes, _outer(profiles).clamp_min(floor).to(device, torch.float32))


def _separable_blend(axes: Sequence[Axis], profiles: Sequence[Tensor], device: torch.device) -> Blend:
    weights = [_normalised(axis, profile, device) for axis, profile in zip(axes, profiles, strict=True)]
    return lambda index: _outer([weights[d][i] for d, i in enumerate(index)])


def _normalised(axis: Axis, profile: Tensor, device: torch.device) -> list[Tensor]:
    """Per window the profile's part inside the image, over the sum of all windows there."""
    total = profile.new_zeros(axis.size)
    for i in range(len(axis.starts)):
        total[axis.covered(i)] += profile[axis.inside(i)]
    parts = (profile[axis.inside(i)] / total[axis.covered(i)] for i in range(len(axis.starts)))
    return [part.to(device, torch.float32) for part in parts]


def _mapped_blend(axes: Sequence[Axis], tile: Tensor) -> Blend:
    total = tile.new_zeros([axis.size for axis in axes])
    for index in all_windows(axes):
        total[covered(axes, index)] += tile[inside(axes, index)]
    return lambda index: tile[inside(axes, index)] / total[covered(axes, index)]


def _outer(vectors: Sequence[Tensor]) -> Tensor:
    """[(H,), (W,)] -> (H, W), and so on."""
    return reduce(lambda left, right: left[..., None] * right, vectors)
