"""A scan turned, cut out, normalised and resampled in a way of its own before a network sees it, and the way back.

Legend: image (C, D, H, W) with axes to superior, anterior and right; seen (C, *S), axes in the network's order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

import numpy as np

from densevit.inference.native import NativeGrid
from densevit.normalization import Normalize
from densevit.options import check_range
from densevit.volumes.first_centre import lay_grids
from densevit.volumes.resample import lone_axis, resample_image, too_large
from densevit.volumes.volume import Volume


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """How scans become what a network sees, where that is another way than that of our own training.

    `axes` are "standard" (to superior, anterior and right) or those of the "file" (Z, Y, X), whatever they point to;
    `order` says which of them the network sees first, second and third, and `flipped` which of the network's axes run
    back. `spacing` are millimetres between voxels along the network's axes, None where an axis stays as it is; grids of
    two spacings share their box (`align` "extent") or, as MONAI's do, the centre of their first voxel ("origin").
    `first` is what is done first, "normalization" or "spacing". `crop` "nonzero" leaves out the border in which all
    channels are 0: it becomes class 0. `masked` says of each channel whether it is normalised by the voxels inside the
    outline of what is not 0 alone, the others staying as they are. `resampling` of images is "linear" or "cubic", see
    `resample_cubic`; what goes back to the scan's grid, logits or probabilities (`restored`), is linear. Beyond a ratio
    of `uneven` between the spacings of two axes, the coarsest is resampled by itself, to nearest planes, see
    `lone_axis`.
    """

    axes: Literal["standard", "file"] = "standard"
    order: tuple[int, int, int] = (0, 1, 2)
    spacing: tuple[float | None, float | None, float | None] = (None, None, None)
    crop: Literal["nonzero"] | None = None
    masked: tuple[bool, ...] = ()
    resampling: Literal["linear", "cubic"] = "linear"
    uneven: float | None = None
    flipped: tuple[int, ...] = ()
    align: Literal["extent", "origin"] = "extent"
    first: Literal["normalization", "spacing"] = "normalization"
    restored: Literal["logits", "probabilities"] = "logits"

    def __post_init__(self) -> None:
        if sorted(self.order) != [0, 1, 2]:
            raise ValueError(f"order must name the axes 0, 1 and 2, each once, got {self.order}")
        if any(mm is not None and not 1e-6 <= mm <= 1e4 for mm in self.spacing):
            raise ValueError(f"spacing must be from 1e-6 to 1e4 mm along each axis, or None, got {self.spacing}")
        check_range(self, ["uneven"], least=1)
        check_range(self, ["flipped"], least=0, most=2)
        if self.flipped and self.axes == "file":
            raise ValueError(f"flipped is for standard axes, and those of the file run as they do, got {self.flipped}")
        if self.align == "origin" and (self.crop or any(self.masked) or self.uneven or self.resampling != "linear"):
            raise ValueError("align 'origin' is for linear resampling, without crop, masked and uneven; leave them out")
        if self.first == "spacing" and any(self.masked):
            raise ValueError("first must be 'normalization' where channels are masked; leave one of them out")

    @property
    def array_spacing(self) -> tuple[float, ...]:
        """Millimetres (D, H, W) of an array that says none: those at which nothing has to be resampled."""
        return tuple(self.spacing[self.order.index(axis)] or 1.0 for axis in range(3))

    def see(self, volume: Volume, *, normalize: Normalize, max_bytes: int) -> "SeenScan":
        """What a network sees of a scan; ValueError where that would take more than `max_bytes`."""
        turn = self._turn(volume)
        image, spacing = turn.of(volume.image), turn.of_axes(volume.grid.spacing)
        mask = _nonzero(image) if self.crop is not None or any(self.masked) else None
        box = _box(mask) if self.crop is not None else tuple(slice(0, n) for n in image.shape[1:])
        sizes = [part.stop - part.start for part in box]
        wanted = [mm or own for mm, own in zip(self.spacing, spacing, strict=True)]
        if self.align == "origin":
            new, native = lay_grids(turn.of_columns(volume.grid.affine), sizes, self.spacing)
            size = new.size
        else:
            new, size = None, _resized(sizes, spacing, wanted)
            native = NativeGrid.same_extent(sizes, size)
        needed = 4 * len(image) * prod(size)
        if needed > max(max_bytes, image.nbytes):
            raise too_large(volume.path, spacing, wanted, needed=needed, max_bytes=max_bytes)
        inside = None if mask is None else mask[box]
        image = image[(slice(None), *box)]
        if self.first == "normalization":
            image = self._normalized(image, inside, normalize)
        lone = self.uneven and lone_axis(spacing, wanted, ratio=self.uneven)
        back = self.uneven and lone_axis(wanted, spacing, ratio=self.uneven)
        image = resample_image(image, size, cubic=self.resampling == "cubic", nearest=lone, grid=new)
        if self.first == "spacing":
            image = normalize(image)
        return SeenScan(
            image=np.ascontiguousarray(image),
            spacing=tuple(wanted),
            turn=turn,
            size=turn.of(volume.image[0]).shape,
            box=box,
            native=replace(
                native, nearest=() if back is None else (back,), probabilities=self.restored == "probabilities"
            ),
        )

    def _turn(self, volume: Volume) -> "Turn":
        if self.axes == "standard":
            return Turn(self.order, self.flipped)
        places, flipped = volume.axes_of_file()
        order = tuple(places[axis] for axis in self.order)
        return Turn(order, tuple(k for k, axis in enumerate(self.order) if flipped[axis]))

    def _normalized(self, image: np.ndarray, mask: np.ndarray | None, normalize: Normalize) -> np.ndarray:
        """(C, *S) normalised, and channels that are `masked` where the outline `mask` (*S) is."""
        seen = np.ascontiguousarray(normalize(image))
        if any(self.masked):
            from scipy.ndimage import binary_fill_holes

            inside = binary_fill_holes(mask)
            within = normalize(image[:, inside])
            for channel in np.flatnonzero(self.masked):
                seen[channel] = image[channel]
                seen[channel][inside] = within[channel]
        return seen


@dataclass(frozen=True)
class Turn:
    """`order`: which of the axes (D, H, W) the network sees first, second and third; `flipped` of these run back."""

    order: tuple[int, ...]
    flipped: tuple[int, ...]

    def of(self, array: np.ndarray) -> np.ndarray:
        """(..., D, H, W) -> (..., *S), a view."""
        before = array.ndim - len(self.order)
        array = array.transpose(*range(before), *(before + axis for axis in self.order))
        return np.flip(array, [before + axis for axis in self.flipped])

    def of_axes(self, values: Sequence[float]) -> tuple[float, ...]:
        """Numbers of the axes (D, H, W), such as a spacing, in the network's order."""
        return tuple(values[axis] for axis in self.order)

    def of_columns(self, affine: np.ndarray) -> np.ndarray:
        """An affine (4, 4) of voxels (w, h, d) -> (3, 3): millimetres from voxel to voxel of the network's axes."""
        signs = [-1 if axis in self.flipped else 1 for axis in range(len(self.order))]
        return affine[:3, [len(self.order) - 1 - axis for axis in self.order]] * signs

    def back(self, array: np.ndarray) -> np.ndarray:
        """(*S) -> (D, H, W), a view."""
        return np.flip(array, self.flipped).transpose(np.argsort(self.order))


@dataclass(frozen=True, kw_only=True)
class SeenScan:
    """`image` (C, *S) is what a network sees of the part `box` of a scan that has `size`, all in its order of axes.

    `spacing` are the millimetres between its voxels; `native` is the grid of that part, to which logits go back.
    """

    image: np.ndarray
    spacing: tuple[float, ...]
    turn: Turn
    size: tuple[int, ...]
    box: tuple[slice, ...]
    native: NativeGrid

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.image[index]

    def restore(self, label: np.ndarray) -> np.ndarray:
        """A label map of the part -> that of the whole scan (D, H, W), 0 elsewhere."""
        whole = np.zeros(self.size, label.dtype)
        whole[self.box] = label
        return np.ascontiguousarray(self.turn.back(whole))


def _nonzero(image: np.ndarray) -> np.ndarray:
    """(C, *S) -> where any channel is not 0, (*S)."""
    mask = image[0] != 0
    for channel in image[1:]:
        mask |= channel != 0
    return mask


def _box(mask: np.ndarray) -> tuple[slice, ...]:
    """The smallest part that holds all of a mask; the whole where it is empty."""
    box = []
    for axis, length in enumerate(mask.shape):
        filled = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        box.append(slice(int(filled[0]), int(filled[-1]) + 1) if len(filled) else slice(0, length))
    return tuple(box)


def _resized(size: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """Voxels of the spacing that is wanted in as much as `size` voxels, rounded as nnU-Net does."""
    return tuple(max(1, round(own / mm * n)) for n, own, mm in zip(size, spacing, wanted, strict=True))
