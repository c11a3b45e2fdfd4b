"""How much each window counts at each pixel: weights that sum to 1 over the windows of every pixel."""

from collections.abc import Callable, Sequence
from functools import lru_cache, reduce

import torch
from torch import Tensor

from densevit.inference.layout import Axis, Layout, covered, inside

# Index of a window, one number per axis -> its weights (*S_window) over the part of it that lies inside the image,
# valid until the next call.
Blend = Callable[[tuple[int, ...]], Tensor]


def gaussian(roi: int, sigma: float = 0.125) -> Tensor:
    """(roi,) float64: 1 at the centre; `sigma` is a fraction of the roi."""
    x = (torch.arange(roi, dtype=torch.float64) - (roi - 1) / 2) / (sigma * roi)
    return torch.exp(-0.5 * x**2)


def constant(roi: int) -> Tensor:
    """(roi,) float64 of ones."""
    return torch.ones(roi, dtype=torch.float64)


PROFILES = {"constant": constant, "gaussian": gaussian}


def make_blend(layout: Layout, *, profile: str, floor: float, device: torch.device) -> Blend:
    """Weights from one profile per axis, never below `floor`, summing to 1 over the windows of each pixel.

    Without a floor each axis is normalised by itself and so is the product: no map of counts, no division pass.
    MONAI keeps a floor of 1e-3 under the product, which is not separable and costs a map of the planes of a row.
    """
    profiles = [PROFILES[profile](axis.roi) for axis in layout.axes]
    if floor == 0:
        return _separable_blend(layout.axes, profiles, device)
    return _mapped_blend(layout, _outer(profiles).clamp_min(floor).to(device, torch.float32))


def _separable_blend(axes: Sequence[Axis], profiles: Sequence[Tensor], device: torch.device) -> Blend:
    weights = [_normalised(axis, profile, device) for axis, profile in zip(axes, profiles, strict=True)]
    made: dict[tuple[int, ...], Tensor] = {}  # one of each size: memory that is there already is faster than new

    def weigh(index: tuple[int, ...]) -> Tensor:
        *leading, last = (weights[d][i] for d, i in enumerate(index))
        size = tuple(len(part) for part in (*leading, last))
        if size not in made:
            made[size] = torch.empty(size, device=device)
        return torch.mul(_outer(leading)[..., None] if leading else 1, last, out=made[size])

    return weigh


def _normalised(axis: Axis, profile: Tensor, device: torch.device) -> list[Tensor]:
    """Per window the profile's part inside the image, over the sum of all windows there."""
    total = profile.new_zeros(axis.size)
    for i in range(len(axis.starts)):
        total[axis.covered(i)] += profile[axis.inside(i)]
    parts = (profile[axis.inside(i)] / total[axis.covered(i)] for i in range(len(axis.starts)))
    return [part.to(device, torch.float32) for part in parts]


def _mapped_blend(layout: Layout, tile: Tensor) -> Blend:
    axes, axis = layout.axes, layout.axis
    rows = range(len(axes[axis].starts))

    @lru_cache(maxsize=1)
    def total(row: int) -> Tensor:
        """The sum of all tiles, on the planes that this row of windows covers."""
        here = axes[axis].covered(row)
        size = list(layout.size)
        size[axis] = here.stop - here.start
        total = tile.new_zeros(size)
        for other in rows:
            planes = axes[axis].covered(other)
            begin, end = max(planes.start, here.start), min(planes.stop, here.stop)
            if begin >= end:
                continue
            for index in layout.row(other):
                place, part = list(covered(axes, index)), tile[inside(axes, index)]
                place[axis] = slice(begin - here.start, end - here.start)
                total[tuple(place)] += part.narrow(axis, begin - planes.start, end - begin)
        return total

    def weigh(index: tuple[int, ...]) -> Tensor:
        place = list(covered(axes, index))
        place[axis] = slice(None)
        return tile[inside(axes, index)] / total(index[axis])[tuple(place)]

    return weigh


def _outer(vectors: Sequence[Tensor]) -> Tensor:
    """[(H,), (W,)] -> (H, W), and so on."""
    return reduce(lambda left, right: left[..., None] * right, vectors)
