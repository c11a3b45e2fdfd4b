"""The options of a sliding window in two groups: which windows a network sees, and where they run.

How much each window counts at each pixel follows from them: weights that sum to 1 over the windows of every pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial, reduce
from numbers import Real
from typing import Any, TypedDict

import torch
from torch import Tensor

from densevit.inference.layout import GRIDS, Axis, Index, Layout, make_axes, make_layout
from densevit.registry import check_known

MONAI_FLOOR = 1e-3
AUTO_WINDOWS = 4  # in a step, at least: so that larger batches can be tried
# A window -> its weights (*S_window) over the part of it that lies inside the image, valid until the next call.
Blend = Callable[[Index], Tensor]


def gaussian(roi: int, *, centre: float | None = None) -> Tensor:
    """(roi,) float64: 1 at the centre, by default the middle, with a sigma of 1/8 of the roi."""
    x = (torch.arange(roi, dtype=torch.float64) - ((roi - 1) / 2 if centre is None else centre)) / (0.125 * roi)
    return torch.exp(-0.5 * x**2)


def nnunet_gaussian(roi: int) -> Tensor:
    """The same about a pixel: of two in the middle the second."""
    return gaussian(roi, centre=roi // 2)


PROFILES = {
    "constant": partial(torch.ones, dtype=torch.float64),
    "gaussian": gaussian,
    "nnunet": nnunet_gaussian,
}


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Which windows of an image a network sees, and how much each of them counts.

    A window has `roi_size` pixels, and the next one begins `stride` pixels further on: at most the roi. Without a
    stride, neighbours share `overlap`, a fraction of the roi. One number stands for every axis. `grid` spaces windows
    evenly ("even"), or exactly as those packages do ("monai", "mmseg", "nnunet"). Where windows overlap, their logits
    are averaged with the weights of `blend`: "gaussian" (sigma 1/8 of the roi; on MONAI's grid with MONAI's least
    weight), "nnunet" (the same about nnU-Net's middle pixel) or "constant". `padding` fills windows larger than the
    image: a number, "replicate" or "reflect". `batch_size` windows are seen in one forward; "auto" measures how many,
    see `BatchSize`. `fixed_batch` fills the last batch up to that number, for compiled networks.

    Raises ValueError for values that no window could have.
    """

    roi_size: int | Sequence[int]
    overlap: float | Sequence[float] = 0.5
    stride: int | Sequence[int] | None = None
    blend: str = "gaussian"
    grid: str = "even"
    padding: float | str = 0.0
    batch_size: int | str = "auto"
    fixed_batch: bool = False

    def __post_init__(self) -> None:
        if self.batch_size != "auto" and (not isinstance(self.batch_size, int) or self.batch_size < 1):
            raise ValueError(f"batch_size must be 'auto' or at least 1 window, got {self.batch_size!r}")
        if isinstance(self.padding, str) and self.padding not in ("replicate", "reflect"):
            raise ValueError(f"padding must be a number, 'replicate' or 'reflect', got {self.padding!r}")
        check_known(self.blend, PROFILES, what="no blend named")
        check_known(self.grid, GRIDS, what="no grid named")

    def layout(self, size: Sequence[int], *, axis: int | None = None, stream: bool = True) -> Layout:
        """Where the windows lie on an image (*S) of `size`, and in which order they run; see `make_layout`."""
        roi_size = _per_axis(self.roi_size, len(size))
        axes = make_axes(size, roi_size, self._strides(roi_size), self.grid)
        windows = AUTO_WINDOWS if self.batch_size == "auto" else self.batch_size
        return make_layout(axes, axis=axis, stream=stream, windows=windows)

    @property
    def least_weight(self) -> float:
        """No weight is smaller before weights are made to sum to 1. MONAI has such a bound; others have none."""
        return MONAI_FLOOR if self.grid == "monai" and self.blend == "gaussian" else 0.0

    def _strides(self, roi_size: Sequence[int]) -> tuple[float, ...]:
        if self.stride is None:
            overlap = _per_axis(self.overlap, len(roi_size))
            if len(overlap) != len(roi_size) or not all(0 <= o < 1 for o in overlap):
                raise ValueError(f"overlap must be at least 0 and below 1, got {self.overlap}; a fraction of the roi")
            if self.grid == "nnunet":
                return tuple(max(1, r * (1 - o)) for r, o in zip(roi_size, overlap, strict=True))
            lost = 0.0 if self.grid == "monai" else 1e-6  # 10 * (1 - 0.8) is a little less than 2, and MONAI takes 1
            return tuple(max(1, int(r * (1 - o) + lost)) for r, o in zip(roi_size, overlap, strict=True))
        stride = _per_axis(self.stride, len(roi_size))
        if len(stride) != len(roi_size) or any(not 1 <= s <= r for s, r in zip(stride, roi_size, strict=False)):
            raise ValueError(f"stride must be 1 to roi_size {tuple(roi_size)} on every axis, got {stride}")
        return stride


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where windows run, and where their sums are kept.

    The network sees windows on `window_device`: by default the tensor's own, and the CPU for other images. Sums are
    kept on `device`, by default the same, in `sum_dtype`: float32 by default, while float16 and bfloat16 take half.
    They are kept for the planes along `axis` that windows still add to, K x roi x cross-section numbers whatever the
    length of the image; by default the axis is the one where that is least. `split` shares the windows among the
    processes of torch.distributed, all of which get the result.
    """

    axis: int | None = None
    device: torch.device | str | None = None
    window_device: torch.device | str | None = None
    sum_dtype: torch.dtype | None = None
    split: bool = False

    def __post_init__(self) -> None:
        if self.sum_dtype is not None and not getattr(self.sum_dtype, "is_floating_point", False):
            raise ValueError(f"sum_dtype must be a floating type such as torch.float32, got {self.sum_dtype!r}")

    def devices(self, image: Any) -> tuple[torch.device, torch.device]:
        """Where windows run, and where their sums are kept."""
        own = image.device if isinstance(image, Tensor) else "cpu"
        run = torch.device(own if self.window_device is None else self.window_device)
        return run, run if self.device is None else torch.device(self.device)


class Keywords(TypedDict, total=False):
    """The values of both groups, each by its name."""

    roi_size: int | Sequence[int]
    overlap: float | Sequence[float]
    stride: int | Sequence[int] | None
    blend: str
    grid: str
    padding: float | str
    batch_size: int | str
    fixed_batch: bool
    axis: int | None
    device: torch.device | str | None
    window_device: torch.device | str | None
    sum_dtype: torch.dtype | None
    split: bool


def grouped(windows: Windows | None, placement: Placement | None, keywords: Keywords) -> tuple[Windows, Placement]:
    """Both groups, with the keywords in the place of their own values; TypeError for a keyword of neither."""
    for name in keywords:
        check_known(name, Keywords.__annotations__, what="no keyword named", error=TypeError)
    places = {field.name: keywords[field.name] for field in fields(Placement) if field.name in keywords}
    others = {name: value for name, value in keywords.items() if name not in places}
    windows = Windows(**others) if windows is None else replace(windows, **others)
    return windows, replace(placement or Placement(), **places)


def _per_axis(value: float | Sequence[float], spatial_dims: int) -> tuple:
    return (value,) * spatial_dims if isinstance(value, Real) else tuple(value)


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

    def weigh(index: Index) -> Tensor:
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
                place, part = list(layout.covered(index)), tile[layout.inside(index)]
                place[axis] = slice(begin - here.start, end - here.start)
                total[tuple(place)] += part.narrow(axis, begin - planes.start, end - begin)
        return total

    def weigh(index: Index) -> Tensor:
        place = list(layout.covered(index))
        place[axis] = slice(None)
        return tile[layout.inside(index)] / total(index[axis])[tuple(place)]

    return weigh


def _outer(vectors: Sequence[Tensor]) -> Tensor:
    """[(H,), (W,)] -> (H, W), and so on."""
    return reduce(lambda left, right: left[..., None] * right, vectors)
