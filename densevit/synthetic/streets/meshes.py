"""Train ids, camera, light, and the meshes of flat polygons of which everything that stands on the street is made.

Street coordinates are metres, y up:   x to the right of the camera, y above the road, z along the street.
A mesh is n polygons of 8 corners:     corners (n, 8, 3), normals (n, 3), colours (n, 3) in 0-1, labels (n,).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

# The train ids of Cityscapes.
Label = IntEnum(
    "Label",
    "ROAD SIDEWALK BUILDING WALL FENCE POLE TRAFFIC_LIGHT TRAFFIC_SIGN VEGETATION TERRAIN SKY PERSON RIDER CAR TRUCK "
    "BUS TRAIN MOTORCYCLE BICYCLE",
    start=0,
)
IGNORE = 255

Pair = tuple[float, float]
Color = Sequence[float]
Decal = tuple[float, float, float, float, Color]  # from and to across a face, from and to up it, as shares; the colour
# Corners of a block by face: rear and front from left to right, sides from rear to front, all from the foot up.
FACES = dict(rear=(0, 1, 5, 4), front=(3, 2, 6, 7), left=(0, 3, 7, 4), right=(1, 2, 6, 5), top=(4, 5, 6, 7))
CORNERS = 8  # of each polygon; one with fewer repeats its last
NEAR = 0.8  # metres; nothing is drawn closer to the camera


class Tone:
    """Colours of what is the same everywhere."""

    GLASS, LIT, DARK, WHITE = (0.13, 0.16, 0.2), (1.0, 0.84, 0.5), (0.07, 0.07, 0.08), (0.92, 0.92, 0.9)
    RED, BLUE, YELLOW, STEEL = (0.78, 0.1, 0.1), (0.1, 0.25, 0.65), (0.95, 0.78, 0.12), (0.42, 0.43, 0.44)


@dataclass(frozen=True)
class Camera:
    """A pinhole camera whose picture plane stands upright; a street bends sideways by `bend * z ** 2` metres."""

    height: float
    focal: float
    center: Pair  # (u, v) in pixels: where a straight street vanishes
    size: tuple[int, int]
    bend: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Street coordinates (..., 3) -> pixel coordinates (..., 2) as (u, v)."""
        x, y, z = np.moveaxis(points, -1, 0)
        z = np.maximum(z, NEAR)
        u = self.center[0] + self.focal * (x / z + self.bend * z)
        return np.stack([u, self.center[1] + self.focal * (self.height - y) / z], axis=-1)


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

    def veil(self, color: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """Mix haze into colours (..., 3) seen from `distance` (...)."""
        clear = np.exp(-self.haze * distance, dtype=np.float32)[..., None]
        return color * clear + self.haze_color * (1.0 - clear)


@dataclass(frozen=True)
class Mesh:
    """Polygons drawn one after the other; those whose normal is 0 are seen from both sides, others from outside."""

    corners: np.ndarray
    normals: np.ndarray
    colors: np.ndarray
    labels: np.ndarray

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Smallest x, largest x, smallest z, largest z."""
        x, z = self.corners[..., 0], self.corners[..., 2]
        return float(x.min()), float(x.max()), float(z.min()), float(z.max())

    def placed(self, x: float, z: float, *, yaw: float = 0.0) -> "Mesh":
        """The mesh turned by `yaw`, 0 looking along the street and pi towards the camera, and moved."""
        sin, cos = np.sin(yaw), np.cos(yaw)
        turn = np.float32([(cos, 0, -sin), (0, 1, 0), (sin, 0, cos)])
        return Mesh(self.corners @ turn + np.float32((x, 0, z)), self.normals @ turn, self.colors, self.labels)


def join(meshes: Iterable[Mesh]) -> Mesh:
    """One mesh that draws the given ones in their order."""
    meshes = list(meshes)
    return Mesh(*(np.concatenate([getattr(m, name) for m in meshes]) for name in Mesh.__dataclass_fields__))


def figure(shapes: Sequence[tuple[np.ndarray, Color]], label: int) -> Mesh:
    """Flat shapes, each (k, 2) places in (x, y) and a colour, which stand across the view and have two sides."""
    corners = np.zeros((len(shapes), CORNERS, 3), np.float32)
    for polygon, (shape, _) in zip(corners, shapes, strict=True):
        polygon[: len(shape), :2], polygon[len(shape) :, :2] = shape, shape[-1]
    colors = np.float32([color for _, color in shapes])
    return Mesh(corners, np.zeros_like(colors), colors, np.full(len(shapes), label, np.uint8))


def rectangle(x: Pair, y: Pair) -> np.ndarray:
    """(4, 2) for `figure`."""
    return np.array([(x[0], y[0]), (x[1], y[0]), (x[1], y[1]), (x[0], y[1])])


def disc(center: Pair, radius: float) -> np.ndarray:
    """An octagon (8, 2) for `figure`."""
    angle = (np.arange(CORNERS) + 0.5) * (2 * np.pi / CORNERS)
    return np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], axis=1)


def limb(start: Pair, end: Pair, widths: Pair) -> np.ndarray:
    """A tapered bar between two points, (4, 2) for `figure`."""
    start, end = np.array(start), np.array(end)
    across = (end - start)[::-1] * (0.5, -0.5) / max(np.linalg.norm(end - start), 1e-6)
    return np.stack([start - widths[0] * across, start + widths[0] * across, end + widths[1] * across,
                     end - widths[1] * across])  # fmt: skip


def leaves(rng: np.random.Generator, centers: np.ndarray, radii: np.ndarray, *, colors: np.ndarray, label: int) -> Mesh:
    """Ragged discs that look to the camera: centres (n, 3), radii (n,), colours (n, 3)."""
    ragged = radii[:, None] * rng.uniform(0.7, 1.25, (len(radii), CORNERS))
    corners = np.repeat(centers[:, None], CORNERS, axis=1)
    corners[..., :2] += disc((0, 0), 1.0) * ragged[..., None]
    normals, labels = np.zeros((len(radii), 3), np.float32), np.full(len(radii), label, np.uint8)
    return Mesh(corners.astype(np.float32), normals, colors.astype(np.float32), labels)


def block(
    label: int,
    color: Color,
    *,
    along: Pair,
    y: Pair,
    width: Pair | float,
    top: Pair | None = None,
    decals: Mapping[str, Sequence[Decal]] | None = None,
) -> Mesh:
    """A block with flat faces, seen from outside; `along` is z at the foot and `top` above, `width` likewise.

    `decals` are painted on the faces that they name; they may reach beyond them, as wheels do.
    """
    foot_half, top_half = np.broadcast_to(width, 2) / 2
    ends = ((foot_half, y[0], *along), (top_half, y[1], *(top or along)))
    points = np.float32([(x, height, z) for half, height, near, far in ends
                         for x, z in ((-half, near), (half, near), (half, far), (-half, far))])  # fmt: skip
    painted = [(order, decal) for name, order in FACES.items()
               for decal in [(0, 1, 0, 1, color), *(decals or {}).get(name, ())]]  # fmt: skip
    a, b, c, d = points[[order for order, _ in painted]].swapaxes(0, 1)[:, :, None]  # (n, 1, 3) each
    u0, u1, v0, v1 = np.float32([decal[:4] for _, decal in painted]).T
    rounds = [u0, u1, u1, *[u0] * (CORNERS - 3)], [v0, v0, v1, *[v1] * (CORNERS - 3)]
    u, v = (np.stack(line, axis=1)[..., None] for line in rounds)
    corners = (1 - v) * ((1 - u) * a + u * b) + v * ((1 - u) * d + u * c)
    normals = np.cross(b - a, d - a)[:, 0]
    outward = np.einsum("nc,nc->n", normals, (a + c)[:, 0] - points.min(0) - points.max(0))
    normals *= (np.sign(outward) / np.maximum(np.linalg.norm(normals, axis=1), 1e-9))[:, None]
    colors = np.float32([decal[4] for _, decal in painted])
    return Mesh(corners, normals, colors, np.full(len(colors), label, np.uint8))


def one_of(rng: np.random.Generator, colors: np.ndarray) -> np.ndarray:
    """A colour of a palette (n, 3), a little lighter or darker."""
    return colors[rng.integers(len(colors))] * np.float32(rng.uniform(0.85, 1.1))
