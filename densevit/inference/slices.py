"""A network of pictures over a volume, slice by slice.

Sizes: image (C, D, H, W), windows (B, C, D, H, W); slices lie side by side along one of the axes D, H, W.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from densevit.inference.batching import Predict
from densevit.options import check_range

PLANES = {"axial": 0, "coronal": 1, "sagittal": 2}  # of (D, H, W), which point to superior, anterior and right


@dataclass(frozen=True, kw_only=True)
class SliceOptions:
    """`axis`: the axis (D, H, W) that slices are stacked along, 0 to 2, or the name of their plane.

    `neighbours` slices on either side are seen together with each slice, as further channels.
    """

    axis: int | Literal["axial", "coronal", "sagittal"] = "axial"
    neighbours: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.axis, str):
            check_range(self, ["axis"], least=0, most=2)
        check_range(self, ["neighbours"], least=0)

    @property
    def dim(self) -> int:
        """The axis as a number."""
        return PLANES[self.axis] if isinstance(self.axis, str) else self.axis

    @property
    def show_sides(self) -> bool:
        """Whether slices reach from left to right, along their last axis."""
        return self.dim != PLANES["sagittal"]

    @property
    def count(self) -> int:
        """The slices that are seen together."""
        return 2 * self.neighbours + 1


def neighbouring_slices(image: np.ndarray, axis: int, n: int) -> np.ndarray:
    """(C, D, H, W) -> (C * (2n + 1), D, H, W): beside each slice along `axis` the n before and after it.

    Channels come slice by slice, the first of them n slices before; at the ends the outermost slice is repeated.
    """
    if n == 0:
        return image
    place = np.arange(image.shape[axis + 1])
    shifts = [(place + shift).clip(0, len(place) - 1) for shift in range(-n, n + 1)]
    return np.concatenate([image.take(shifted, axis + 1) for shifted in shifts])


def over_slices(model: Predict, axis: int) -> Predict:
    """A network of pictures (B, C, H, W) -> (B, K, H, W) as one of volumes: (B, C, D, H, W) -> (B, K, D, H, W).

    The slices along `axis` (of D, H, W) of all windows form one batch.
    """

    def predict(x: Tensor) -> Tensor:
        slices = x.movedim(axis + 2, 1)
        return model(slices.flatten(0, 1)).unflatten(0, slices.shape[:2]).movedim(1, axis + 2)

    return predict
