"""One crop of a volume: where it lies, the box of the volume that it reads, and its voxels, sampled once.

Zoom, rotation, flips and elastic displacement are one map from the voxels of the crop to places in the volume, so that
every voxel is interpolated once, and nothing outside the crop is touched. Rotations and displacements are made in
millimetres: what is round stays round where voxels are not cubes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil, cos, floor, radians, sin

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from densevit.labels import IGNORE

Size = tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Elastic:
    """Displacements of control points `distance` mm apart, (3, *points) in mm: a uniform cubic B-spline.

    Nothing folds while no displacement exceeds 0.4 times the distance (https://doi.org/10.1006/gmod.2000.0531).
    """

    points: np.ndarray
    distance: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a crop lies: the voxel of the volume at its middle, and the step in the volume for each in the crop.

    `mirrored`: whether its last axis, left to right, is turned round.
    """

    size: Size
    matrix: np.ndarray  # (3, 3)
    mirrored: bool = False
    centre: np.ndarray = field(default_factory=lambda: np.zeros(3))
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    elastic: Elastic | None = None

    @property
    def plain(self) -> bool:
        """Whether voxels are copied, turned round at most, not interpolated."""
        return self.elastic is None and np.array_equal(abs(self.matrix), np.eye(3))


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The box of a volume that a crop reads, float32 (C, *box) and uint8 (*box), with its first voxel and the place.

    `seed` is that of what happens to its intensities. A cut can be sent to another device before it is sampled.
    """

    image: np.ndarray
    label: np.ndarray
    start: tuple[int, int, int]
    place: Place
    seed: int = 0


def step_matrix(*, zoom: float, angles: Sequence[float], flips: Sequence[bool], spacing: Sequence[float]) -> np.ndarray:
    """(3, 3): a step in the crop -> a step in the volume, in voxels (D, H, W); angles about each axis in degrees."""
    matrix = np.eye(3) / zoom
    if any(angles):
        mm = np.array(spacing)
        for axis, angle in enumerate(angles):
            matrix = matrix @ _turn(axis, radians(angle))
        matrix = matrix * mm / mm[:, None]
    return matrix @ np.diag(np.where(flips, -1.0, 1.0))


def _turn(axis: int, angle: float) -> np.ndarray:
    turn = np.eye(3)
    i, j = (other for other in range(3) if other != axis)
    turn[i, i] = turn[j, j] = cos(angle)
    turn[i, j], turn[j, i] = -sin(angle), sin(angle)
    return turn


def draw_elastic(
    rng: np.random.Generator, *, size: Size, spacing: Sequence[float], largest: float, distance: float
) -> Elastic:
    """Control points over a crop, each moved up to `largest` mm along each axis."""
    points = [floor((n - 1) * mm / distance) + 4 for n, mm in zip(size, spacing, strict=True)]
    return Elastic(points=rng.uniform(-largest, largest, (3, *points)), distance=distance)


def place_crop(centre: np.ndarray, *, volume: Size, place: Place, zoom: float, around: bool) -> Place:
    """The place moved to `centre`, pulled into the volume as if it were not turned: to its middle where it is larger.

    With `around` the voxel at `centre` stays inside the crop. Copied crops lie on whole voxels.
    """
    low, high = bounds(place.size, volume=volume, zoom=zoom)
    middle = np.clip(centre, low, high)
    if around:
        inside = np.maximum((np.array(place.size) - 1) / 2 - _largest_move(place), 0)
        offset = np.linalg.inv(place.matrix) @ (centre - middle)
        middle = centre - place.matrix @ np.clip(offset, -inside, inside)
    if place.plain:
        near = (np.array(place.size) - 1) / 2
        middle = np.round(middle - near) + near
    return replace(place, centre=middle)


def bounds(size: Size, *, volume: Size, zoom: float) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest centre (D, H, W) of crops that lie inside the volume."""
    last = np.array(volume) - 1
    low = np.minimum(np.array(size) / zoom / 2 - 0.5, last / 2)
    return low, last - low


def _largest_move(place: Place) -> np.ndarray:
    """(3,) voxels of the crop: how far the elastic displacement can move one."""
    if place.elastic is None:
        return np.zeros(3)
    return abs(place.elastic.points).max(axis=(1, 2, 3)) / np.array(place.spacing)


def cut(image: np.ndarray, label: np.ndarray, place: Place, *, seed: int = 0) -> Cut:
    """Read what the crop needs of image (C, D, H, W) and label (D, H, W), and nothing else of a memory-mapped one."""
    reach = abs(place.matrix) @ ((np.array(place.size) - 1) / 2 + _largest_move(place))
    reach += 0 if place.plain else 1e-3  # for what rounding adds
    low = [max(0, floor(c - r)) for c, r in zip(place.centre, reach, strict=True)]
    high = [min(n, ceil(c + r) + 1) for n, c, r in zip(label.shape, place.centre, reach, strict=True)]
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Cut(
        image=np.array(image[(slice(None), *box)], np.float32, order="C"),
        label=np.array(label[box], np.uint8, order="C"),
        start=tuple(low),
        place=place,
        seed=seed,
    )


def sample(piece: Cut, *, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """The crop: float32 (C, *size), linear, 0 beyond the volume; uint8 (*size), nearest, ignored beyond it."""
    image, label = (torch.from_numpy(part).to(device) for part in (piece.image, piece.label))
    if piece.place.plain:
        return _copy(image, piece, fill=0), _copy(label[None], piece, fill=IGNORE)[0]
    grid = _sampling_grid(piece, torch.device(device))
    options = dict(padding_mode="zeros", align_corners=False)
    moved = F.grid_sample(image[None], grid, mode="bilinear", **options)[0]
    # Labels move by 1 so that the zeros beyond the volume can be told from class 0.
    shifted = F.grid_sample((label.float() + 1)[None, None], grid, mode="nearest", **options)[0, 0]
    return moved, torch.where(shifted == 0, IGNORE, shifted - 1).to(torch.uint8)


def _copy(values: Tensor, piece: Cut, *, fill: int) -> Tensor:
    place = piece.place
    if values.shape[1:] == place.size:  # wholly inside the volume
        crop = values
    else:
        crop = values.new_full((len(values), *place.size), fill)
        first = np.round(place.centre - (np.array(place.size) - 1) / 2).astype(int)
        into = (
            slice(start - low, start - low + n)
            for low, start, n in zip(first, piece.start, values.shape[1:], strict=True)
        )
        crop[(slice(None), *into)] = values
    turned = [axis + 1 for axis in range(3) if place.matrix[axis, axis] < 0]
    return crop.flip(turned) if turned else crop


def _sampling_grid(piece: Cut, device: torch.device) -> Tensor:
    """(1, *size, 3): where each voxel of the crop is read in the box, in grid_sample's terms: -1 to 1, (W, H, D)."""
    place, box = piece.place, np.array(piece.label.shape)
    scaled = 2 / box[:, None] * place.matrix  # steps in voxels of the crop -> shares of the box
    middle = (2 * (place.centre - piece.start) + 1) / box - 1
    # By axis of the crop, what a step along it adds; the sum of all three is the affine part.
    d, h, w = (scaled[::-1, i, None] * (np.arange(n) - (n - 1) / 2) for i, n in enumerate(place.size))
    parts = (d[:, :, None, None] + middle[::-1, None, None, None], h[:, None, :, None], w[:, None, None, :])
    d, h, w = (torch.from_numpy(part.astype(np.float32)).to(device) for part in parts)
    grid = d + h + w  # (3, *size): one component after another, which is the quicker layout to fill
    if place.elastic is not None:
        moves = np.einsum("ij,jklm->iklm", (scaled / np.array(place.spacing))[::-1], place.elastic.points)
        grid += _spline(moves, place, device=device)
    return grid.permute(1, 2, 3, 0)[None]


def _spline(points: np.ndarray, place: Place, *, device: torch.device) -> Tensor:
    """(3, *points) -> (3, *size): values of control points at every voxel of the crop."""
    values = torch.from_numpy(points.astype(np.float32)).to(device)
    for axis, (n, mm) in enumerate(zip(place.size, place.spacing, strict=True)):
        weights = _spline_weights(n, step=mm / place.elastic.distance, points=points.shape[axis + 1])
        values = torch.tensordot(values, weights.to(device), dims=([1], [1]))  # each axis goes to the end
    return values


def _spline_weights(n: int, *, step: float, points: int) -> Tensor:
    """(n, points): the uniform cubic B-spline's weights of the control points at places 0, step, 2 step, ..."""
    place = np.arange(n) * step
    base = np.floor(place).astype(int)
    t = place - base
    four = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    weights = np.zeros((n, points), np.float32)
    np.put_along_axis(weights, base[:, None] + np.arange(4), four.astype(np.float32), axis=1)
    return torch.from_numpy(weights)
