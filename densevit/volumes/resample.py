"""Scans on grids of other spacings: the same box in millimetres, divided into more or fewer voxels.

Values are linear between voxel centres, voxels at the border beyond them: what `F.interpolate` does with
`align_corners=False`. A linear ramp stays exact where the new centres lie between the old ones. Images can be resampled
by cubic splines too (`cubic.py`), and one axis by its nearest planes.
Legend: size (D, H, W), image (C, D, H, W), label (D, H, W).
"""

import logging
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F

from densevit.inference.interpolate import interpolate
from densevit.inference.native import NativeGrid
from densevit.normalization import Normalize
from densevit.texts import format_bytes
from densevit.volumes.cubic import resample_cubic
from densevit.volumes.grid import Grid, times

logger = logging.getLogger("densevit")
SAME_SPACING = 1e-3  # relative: spacings that differ by rounding are the same, and a scan that fits is never resampled
SAME_COARSENESS = 1e-6  # relative: files round their spacings to float32


def check_spacing(spacing: Sequence[float] | None) -> None:
    """ValueError for what is not three positive numbers, or None."""
    if spacing is None:
        return
    if len(spacing) != 3 or not all(isinstance(s, int | float) and 0 < s < float("inf") for s in spacing):
        raise ValueError(f"spacing must be three positive millimetres (D, H, W), got {spacing}")


def warn_of_turned_spacing(wanted: Sequence[float], spacings: Sequence[Sequence[float]]) -> None:
    """Say so where a spacing fits the scans far better read backwards: files and many programs write (W, H, D)."""
    usual = np.median(np.array(spacings), axis=0)
    given, turned = (float(np.abs(np.log(usual / np.array(each))).max()) for each in (wanted, wanted[::-1]))
    if given > np.log(2) and turned < np.log(1.5):
        logger.warning(
            "spacing is (D, H, W), and the scans have %s mm where it says %s; did you mean spacing=%s?",
            " x ".join(f"{mm:.4g}" for mm in usual),
            " x ".join(f"{mm:.4g}" for mm in wanted),
            tuple(wanted[::-1]),
        )


def working_size(grid: Grid, spacing: Sequence[float] | None) -> tuple[int, ...]:
    """Voxels of about `spacing` mm (D, H, W) that fill the grid's box; the grid's own for None."""
    if spacing is None:
        return tuple(grid.size)
    steps = zip(grid.size, grid.spacing, spacing, strict=True)
    return tuple(n if abs(s / t - 1) < SAME_SPACING else max(1, round(n * s / t)) for n, s, t in steps)


def check_memory(name: object, grid: Grid, *, spacing: Sequence[float] | None, channels: int, max_bytes: int) -> None:
    """ValueError where a scan at another spacing would take more than `max_bytes`; its file was measured before."""
    size = working_size(grid, spacing)
    needed = 4 * channels * prod(size)
    if needed > max_bytes and size != tuple(grid.size):
        raise too_large(name, grid.spacing, spacing, needed=needed, max_bytes=max_bytes)


def too_large(
    name: object, spacing: Sequence[float], wanted: Sequence[float], *, needed: int, max_bytes: int
) -> ValueError:
    """The error for a scan that would take so many bytes at the spacing that is wanted."""
    here, there = (times(round(mm, 4) for mm in each) for each in (spacing, wanted))
    return ValueError(
        f"{name} has voxels of {here} mm, and at {there} mm it would take {format_bytes(needed)}, where "
        f"{format_bytes(max_bytes)} are allowed; correct one of the spacings, or raise max_bytes"
    )


def resampled_grid(grid: Grid, size: Sequence[int]) -> Grid:
    """The grid of `size` voxels over the same box: its first centre moves by half the difference of the voxels."""
    factors = np.array(grid.size[::-1]) / np.array(tuple(size)[::-1])  # new voxels in old ones, (W, H, D)
    step = np.eye(4)
    step[:3, :3] = np.diag(factors)
    step[:3, 3] = (factors - 1) / 2
    return Grid(tuple(size), grid.affine @ step)


def resample_image(
    image: np.ndarray,
    size: Sequence[int],
    *,
    cubic: bool = False,
    nearest: int | None = None,
    grid: NativeGrid | None = None,
) -> np.ndarray:
    """(C, D, H, W) -> float32 (C, *size); the array itself where it has that size.

    `cubic` takes splines in the place of straight lines, `nearest` the nearest planes along that axis. `grid`, of
    `size`, says where the new voxels lie among the old ones, by default in the same box.
    """
    if image.shape[1:] == tuple(size) and (grid is None or grid.is_same(size)):
        return image
    out = np.empty((len(image), *size), np.float32)
    for channel, target in zip(image, out, strict=True):
        values = torch.from_numpy(np.ascontiguousarray(channel, np.float32))
        if cubic:
            target[...] = resample_cubic(values, size, nearest=nearest).numpy()
        elif nearest is not None or grid is not None:
            lone = grid or NativeGrid.same_extent(size, values.shape, nearest=(nearest,))
            target[...] = interpolate(values[None], lone.lines(values.shape))[0].numpy()
        else:
            target[...] = _interpolate(values, size).numpy()
    return out


def lone_axis(first: Sequence[float], second: Sequence[float], *, ratio: float) -> int | None:
    """The axis that nnU-Net resamples by itself, between grids of these spacings; None where it is done with the rest.

    It is the coarsest one of the first spacing that is more than `ratio` times as coarse along one axis as along
    another, unless two axes are equally coarse. https://doi.org/10.1038/s41592-020-01008-z
    """
    for spacing in (first, second):
        if max(spacing) > ratio * min(spacing):
            coarsest = [axis for axis, mm in enumerate(spacing) if mm > (1 - SAME_COARSENESS) * max(spacing)]
            return coarsest[0] if len(coarsest) == 1 else None
    return None


def prepare_image(
    image: np.ndarray, grid: Grid, *, normalize: Normalize, spacing: Sequence[float] | None
) -> np.ndarray:
    """What a network sees of a scan, in training and in prediction: normalised, then at `spacing` mm (D, H, W)."""
    return resample_image(normalize(image), working_size(grid, spacing))


def resample_label(label: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """(D, H, W) -> (*size): the value that the old voxels around a new centre agree on most, the lower of equals."""
    if label.shape == tuple(size):
        return label
    out = np.zeros(tuple(size), label.dtype)
    most = torch.zeros(tuple(size))
    for value in np.unique(label):
        share = _interpolate(torch.from_numpy(label == value).float(), size)
        out[(share > most).numpy()] = value
        torch.maximum(most, share, out=most)
    return out


def _interpolate(values: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    return F.interpolate(values[None, None], size=tuple(size), mode="trilinear", align_corners=False)[0, 0]
