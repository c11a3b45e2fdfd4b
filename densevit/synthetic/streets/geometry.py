"""Camera, light and the meshes that are drawn with them.

Street coordinates are metres, y up:   x to the right of the camera, y above the road, z along the street.
A mesh is a list of flat polygons:     vertices (N, 3), counts (n,) vertices a polygon, colours (n, 3) in 0-1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEAR = 0.8  # metres; nothing is drawn closer to the camera
MATT, SOFT, GLOW = 0, 1, 2  # shaded by its direction, shaded evenly, not shaded


@dataclass(frozen=True)
class Camera:
    """A pinhole camera whose picture plane stands upright; a street bends sideways by `bend * z ** 2` metres."""

    height: float
    focal: float
    center: tuple[float, float]  # (u, v) in pixels: where a straight street vanishes
    size: tuple[int, int]
    bend: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Street coordinates (N, 3) -> pixel coordinates (N, 2) as (u, v)."""
        x, y, z = points.T
        z = np.maximum(z, NEAR)
        u = self.center[0] + self.focal * (x + self.bend * z * z) / z
        return np.stack([u, self.center[1] + self.focal * (self.height - y) / z], axis=1)

    def column_slopes(self) -> np.ndarray:
        """Sideways slope x / z of the ray through each pixel column: (W,)."""
        return ((np.arange(self.size[1]) + 0.5 - self.center[0]) / self.focal).astype(np.float32)

    def row_slopes(self) -> np.ndarray:
        """Downward slope of the ray through each pixel row, positive below the horizon: (H,)."""
        return ((np.arange(self.size[0]) + 0.5 - self.center[1]) / self.focal).astype(np.float32)


@dataclass(frozen=True)
class Light:
    """What lights a scene: colours are (3,) arrays in 0-1, `sun` points to the sun."""

    sun: np.ndarray
    sun_color: np.ndarray
    ambient: np.ndarray
    haze_color: np.ndarray
    haze: float  # share of light lost a metre
    zenith: np.ndarray
    clouds: float
    lamps: float  # how many windows and lamps are lit, 0-1

    @property
    def sunny(self) -> bool:
        return float(self.sun_color.max()) > 0.2

    def on(self, normal: Sequence[float], sunlit: float | np.ndarray = 1.0) -> np.ndarray:
        """Light that a surface with this normal gets: (3,), or (N, 3) for N values of `sunlit`."""
        facing = np.float32(max(float(np.dot(self.sun, normal)), 0.0))
        return self.ambient + self.sun_color * (facing * np.asarray(sunlit, dtype=np.float32)[..., None])

    def veil(self, color: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Mix haze into colours (N, 3) seen from `distance` (N,)."""
        clear = np.exp(-self.haze * distance, dtype=np.float32)[..., None]
        return color * clear + self.haze_color * (1.0 - clear)


@dataclass(frozen=True)
class Mesh:
    """Polygons drawn one after the other, each with its colour, its label and its way of shading."""

    vertices: np.ndarray
    counts: np.ndarray
    colors: np.ndarray
    labels: np.ndarray
    shading: np.ndarray

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest x, largest x, smallest z, largest z."""
        low, high = self.vertices.min(0), self.vertices.max(0)
        return float(low[0]), float(high[0]), float(low[2]), float(high[2])

    def moved(self, x: float, z: float) -> "Mesh":
        vertices = self.vertices + np.float32((x, 0.0, z))
        return Mesh(vertices, self.counts, self.colors, self.labels, self.shading)


def polygons(shapes: Sequence[np.ndarray], colors: np.ndarray, label: int, shading: int = MATT) -> Mesh:
    """A mesh from one (k, 3) array a polygon, with one colour for all or one each."""
    n = len(shapes)
    return Mesh(
        vertices=np.concatenate(shapes).astype(np.float32),
        counts=np.array([len(shape) for shape in shapes]),
        colors=np.broadcast_to(np.asarray(colors, dtype=np.float32), (n, 3)),
        labels=np.full(n, label, dtype=np.uint8),
        shading=np.full(n, shading, dtype=np.uint8),
    )


def join(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh that draws the given ones in their order."""
    meshes = list(meshes)
    return Mesh(*(np.concatenate([getattr(m, name) for m in meshes]) for name in Mesh.__dataclass_fields__))


def panel(x: tuple[float, float], y: tuple[float, float], z: float = 0.0) -> np.ndarray:
    """An upright rectangle that faces the camera: (4, 3)."""
    return np.array([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)])


def disc(center: tuple[float, float, float], radius: float, corners: int = 10) -> np.ndarray:
    """An upright disc that faces the camera: (corners, 3)."""
    angle = np.arange(corners) * (2 * np.pi / corners) + np.pi / corners
    x, y, z = center
    return np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(corners, z)], axis=1)


def blobs(centers: np.ndarray, radii: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Ragged discs that face the camera, for leaves: centres (n, 3), radii (n,) -> n polygons (9, 3)."""
    angle = np.arange(9) * (2 * np.pi / 9)
    radius = radii[:, None] * rng.uniform(0.7, 1.25, (len(radii), 9))
    offset = np.stack([radius * np.cos(angle), radius * np.sin(angle), np.zeros_like(radius)], axis=2)
    return list(centers[:, None] + offset)


def box_faces(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> list[np.ndarray]:
    """The three faces of an upright box that a camera on the street can see: top, inner side, front."""
    near_x = x[1] if x[1] < 0 else x[0]
    top = [(x[0], y[1], z[0]), (x[1], y[1], z[0]), (x[1], y[1], z[1]), (x[0], y[1], z[1])]
    side = [(near_x, y[0], z[0]), (near_x, y[0], z[1]), (near_x, y[1], z[1]), (near_x, y[1], z[0])]
    return [np.array(top), np.array(side), panel(x, y, z[0])]
