"""Training crops of volumes: one affine resampling (zoom, rotation, flips, place), then intensity; torch alone.

Every number is drawn from the generator that is handed in, so that a crop is known by its seed.
"""

from collections.abc import Callable, Mapping
from math import cos, radians, sin
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.datasets.colors import IGNORE

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]


def create_augment_3d(config: Mapping[str, Any]) -> Augment:
    """The function (image (C, D, H, W), label (D, H, W), rng) -> both of `crop_size`; see `VolumeAugmentSection`.

    What lies beyond the volume is 0 in the image (its mean) and ignored in the label.
    """
    scale, crop_size = config["scale"], config["crop_size"]
    if min(crop_size) < 1:
        raise ValueError(f"crop_size must be at least 1 on every axis, got {tuple(crop_size)}")
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale must be two rising factors above 0, got {tuple(scale)}")
    for key in ("foreground", "intensity", "noise", *("flips",) * 3):
        values = np.atleast_1d(config[key])
        if not ((values >= 0) & (values <= 1)).all():
            raise ValueError(f"augment.{key} must lie between 0 and 1, got {config[key]}")

    def augment(image: np.ndarray, label: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        matrix = _draw_matrix(rng, scale=scale, rotate=config["rotate"], flips=config["flips"])
        centre = _draw_centre(rng, label, matrix=matrix, crop_size=crop_size, foreground=config["foreground"])
        grid = _sampling_grid(matrix, centre, crop_size=crop_size, size=label.shape)
        moved = _sample(torch.from_numpy(image), grid, mode="bilinear")
        # Labels move by 1 so that the zeros beyond the volume can be told from class 0.
        shifted = _sample(torch.from_numpy(label[None].astype(np.float32) + 1), grid, mode="nearest")[0]
        values = shifted.round().to(torch.int16) - 1
        values[values < 0] = IGNORE
        moved = _change_intensity(moved, rng, intensity=config["intensity"], noise=config["noise"])
        return moved.numpy(), values.numpy().astype(np.uint8)

    return augment


def _draw_matrix(
    rng: np.random.Generator, *, scale: tuple[float, float], rotate: float, flips: tuple[float, float, float]
) -> np.ndarray:
    """(3, 3): a step in the crop -> a step in the volume, axes (D, H, W)."""
    matrix = np.eye(3) / rng.uniform(*scale)
    for axis in range(3):
        angle = radians(rng.uniform(-rotate, rotate))
        turn = np.eye(3)
        i, j = [other for other in range(3) if other != axis]
        turn[i, i] = turn[j, j] = cos(angle)
        turn[i, j], turn[j, i] = -sin(angle), sin(angle)
        matrix = matrix @ turn
    return matrix @ np.diag(np.where(rng.random(3) < np.array(flips), -1.0, 1.0))


def _draw_centre(
    rng: np.random.Generator,
    label: np.ndarray,
    *,
    matrix: np.ndarray,
    crop_size: tuple[int, int, int],
    foreground: float,
) -> np.ndarray:
    """(3,): the voxel of the volume at the middle of the crop; the volume's own middle where the crop is larger.

    With probability `foreground` it is a voxel of a class other than 0, each class that is there equally likely.
    """
    size = np.array(label.shape)
    half = np.array(crop_size) * np.linalg.norm(matrix, axis=0) / 2  # of the crop, in voxels, as if it were not turned
    low = np.minimum(half - 0.5, (size - 1) / 2)
    high = size - 1 - low
    centre = rng.uniform(low, high)
    wanted, pick = rng.random() < foreground, rng.random(2)
    present = [c for c in np.unique(label) if c not in (0, IGNORE)]
    if wanted and present:
        voxels = np.flatnonzero(label == present[int(pick[0] * len(present))])
        chosen = np.array(np.unravel_index(voxels[int(pick[1] * len(voxels))], label.shape))
        centre = np.clip(chosen, low, high)
    if not np.array_equal(abs(matrix), np.eye(3)):
        return centre
    near = (np.array(crop_size) - 1) / 2  # whole voxels, so that a crop without zoom and rotation copies them unchanged
    return np.round(centre - near) + near


def _sampling_grid(
    matrix: np.ndarray, centre: np.ndarray, *, crop_size: tuple[int, int, int], size: tuple[int, ...]
) -> Tensor:
    """(1, d, h, w, 3): where each voxel of the crop is read, in grid_sample's terms: -1 to 1, axes (W, H, D)."""
    steps = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in crop_size), indexing="ij"), axis=-1)
    places = steps @ matrix.T + centre
    scaled = (2 * places + 1) / np.array(size) - 1
    return torch.from_numpy(scaled[..., ::-1].astype(np.float32))[None]


def _sample(volume: Tensor, grid: Tensor, *, mode: str) -> Tensor:
    """(C, D, H, W) -> (C, d, h, w)."""
    return F.grid_sample(volume[None], grid, mode=mode, padding_mode="zeros", align_corners=False)[0]


def _change_intensity(image: Tensor, rng: np.random.Generator, *, intensity: float, noise: float) -> Tensor:
    """Each channel times 1 +- intensity, plus +- intensity, plus noise of a deviation up to `noise`."""
    factor, shift = rng.uniform(-intensity, intensity, (2, len(image), 1, 1, 1)).astype(np.float32)
    image = image * torch.from_numpy(1 + factor) + torch.from_numpy(shift)
    deviation = rng.uniform(0, noise)
    return image if noise == 0 else image + torch.from_numpy(_normal(rng, image.shape) * np.float32(deviation))


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)
