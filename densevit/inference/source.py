"""Images that are read a few planes at a time: tensors, arrays, memory maps, nibabel proxies, Zarr arrays."""

import logging
import mmap
from collections.abc import Sequence
from numbers import Integral
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

logger = logging.getLogger("densevit")


class ArrayLike(Protocol):
    """What can be sliced: (C, *S), or (*S) for one channel."""

    shape: Sequence[int]

    def __getitem__(self, index: Any) -> Any: ...


class Source:
    """`planes(begin, end)` -> (C, *S) with only these planes along `axis`, on `device`.

    A tensor keeps its type; of anything else only the planes asked for are read, as float32, each once: planes that
    two neighbouring reads have in common are kept. `non_finite` is "raise" or the number that takes the place of
    NaN and infinities.
    """

    def __init__(
        self, image: Tensor | ArrayLike, spatial_dims: int, *, axis: int, device: torch.device, non_finite: str | float
    ):
        self.image = image
        self.axis = axis
        self.device = device
        self.non_finite = non_finite
        self.has_channels = len(image.shape) > spatial_dims
        on_device = isinstance(image, Tensor) and image.device == device
        self.in_place = on_device and self.has_channels and non_finite == "raise"  # nothing to copy
        self.end = 0  # of what was read
        self.held: Tensor | None = None  # the last planes before `end`

    def planes(self, begin: int, end: int) -> Tensor:
        """Planes [begin, end), (C, *S); `end` is larger than in the call before, and `begin` no smaller."""
        dim, kept = self.axis + 1, max(self.end - begin, 0)
        planes = self._read(begin + kept, end)
        self.end = end
        if self.in_place:
            return self.image.narrow(dim, begin, end - begin)
        if kept:
            planes = torch.cat([self.held.narrow(dim, self.held.shape[dim] - kept, kept), planes], dim)
        self.held = planes
        return planes

    def _read(self, begin: int, end: int) -> Tensor:
        index: list[slice] = [slice(None)] * len(self.image.shape)
        index[self.axis + self.has_channels] = slice(begin, end)
        part = self.image[tuple(index)]
        if not isinstance(part, Tensor):
            part = torch.from_numpy(np.array(part, dtype=np.float32, order="C"))
            forget_pages(self.image)
        if not self.has_channels:
            part = part[None]
        if self.device.type == "cuda" and part.device.type == "cpu":
            part = part.pin_memory()  # the copy goes on while the host prepares what comes next
        return self._finite(part.to(self.device, non_blocking=True), begin)

    def _finite(self, part: Tensor, begin: int) -> Tensor:
        if not part.is_floating_point() or part.sum().isfinite():  # a sum is finite only if all of its terms are
            return part
        wrong = ~part.isfinite()
        count = int(wrong.sum())
        if not count:
            return part
        where = wrong.nonzero()[0].tolist()
        where[self.axis + 1] += begin
        found = f"the image holds NaN or infinity, {count} values from (channel, *position) {tuple(where)} on"
        if self.non_finite == "raise":
            raise ValueError(f"{found}; correct the file, or give a number such as non_finite=0.0 for their place")
        logger.warning("%s: replaced by %s", found, self.non_finite)
        return part.masked_fill(wrong, float(self.non_finite))


def check_source(image: Any, roi_size: int | Sequence[int]) -> tuple[int, ...]:
    """The size (*S) of an image (C, *S), or (*S) where `roi_size` tells; ValueError for what is no image."""
    shape = getattr(image, "shape", None)
    if shape is None or not hasattr(image, "__getitem__"):
        raise ValueError(f"expected a tensor or an array (C, *S), got a {type(image).__name__}; numpy.asarray may help")
    rois = (roi_size,) * (len(shape) - 1) if isinstance(roi_size, Integral) else tuple(roi_size)
    rank = len(rois)
    if rank < 1 or len(shape) not in (rank, rank + 1) or 0 in shape or min(rois) < 1:
        raise ValueError(
            "expected an image (C, *S) without empty axes and one roi_size of at least 1 per axis of S, "
            f"got shape {tuple(shape)} and roi_size {rois}"
        )
    return tuple(int(s) for s in shape[len(shape) - rank :])


def forget_pages(array: object) -> None:
    """Let go of the pages of a memory map that were read or written: they are in the file, not this process's to hold.

    Changes to a private map (mode "c") exist in memory alone, so that one is left as it is.
    """
    pages = getattr(array, "_mmap", None)  # None for what numpy made of a map in memory
    if isinstance(array, np.memmap) and pages is not None and array.mode != "c" and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)
