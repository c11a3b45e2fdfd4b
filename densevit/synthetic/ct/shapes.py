"""Bodies as functions of place: `field(x, y, z)` is about the distance to the surface, negative inside.

Places are millimetres of a standard patient: x to the right of the patient, y to the front, z to the head.
Arrays of places are float32 (*S); boxes are (low, high) corners.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

Field = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
Paint = Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]  # of (x, y, z, field)
Triple = Sequence[float]


@dataclass(frozen=True)
class Shape:
    """A field and the box outside which it is positive."""

    field: Field
    low: tuple[float, float, float]
    high: tuple[float, float, float]

    def grown(self, mm: float) -> "Shape":
        """The shape with a rim of `mm` more, or less where it is negative."""
        rim = max(mm, 0.0)
        low, high = tuple(v - rim for v in self.low), tuple(v + rim for v in self.high)
        return Shape(lambda x, y, z: self.field(x, y, z) - mm, low, high)

    def within(self, *fields: Field) -> "Shape":
        """What lies in the shape and in every field."""

        def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
            values = self.field(x, y, z)
            for other in fields:
                values = np.maximum(values, other(x, y, z))
            return values

        return replace(self, field=field)

    def without(self, *fields: Field) -> "Shape":
        """What lies in the shape and in none of the fields."""
        return self.within(*(lambda x, y, z, f=f: -f(x, y, z) for f in fields))

    def joined(self, other: "Shape", *, soft: float = 1.0) -> "Shape":
        """Both shapes, with a fillet of about `soft` mm where they meet."""

        def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
            a, b = self.field(x, y, z), other.field(x, y, z)
            share = np.clip(0.5 + 0.5 * (b - a) / soft, 0, 1)
            return b + share * (a - b) - soft * share * (1 - share)

        low = tuple(min(a, b) - soft for a, b in zip(self.low, other.low, strict=True))
        high = tuple(max(a, b) + soft for a, b in zip(self.high, other.high, strict=True))
        return Shape(field, low, high)


def ellipsoid(
    center: Triple, radii: Triple, *, turn: Triple = (0.0, 0.0, 0.0), bumps: Field | None = None, bump: float = 0.0
) -> Shape:
    """An ellipsoid turned by angles in degrees about x, y, z; `bumps` of at most `bump` mm are added to its surface."""
    radii = np.float32(radii)
    center = np.float32(center)
    matrix = rotation(turn).astype(np.float32)
    half = np.sqrt(((matrix * radii) ** 2).sum(1)) + bump

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        place = (x - center[0], y - center[1], z - center[2])
        near, steep = np.float32(0), np.float32(0)
        for axis in range(3):
            along = sum(place[i] * matrix[i, axis] for i in range(3)) / radii[axis]
            near = near + along * along
            steep = steep + (along / radii[axis]) ** 2
        near = np.sqrt(near)
        values = near * (near - 1) / np.sqrt(steep + np.float32(1e-12))
        # At the very centre the quotient is 0 / 0; a point inside is never deeper than the smallest radius.
        values = np.where(near < 0.05, -radii.min(), values)
        return values if bumps is None else values + bumps(x, y, z)

    return Shape(field, tuple((center - half).tolist()), tuple((center + half).tolist()))


def tube(points: Sequence[Triple], radii: float | Sequence[float]) -> Shape:
    """A round tube along a line of points, its radius given once or at each of them."""
    points = np.asarray(points, np.float32)
    radii = np.broadcast_to(np.asarray(radii, np.float32), len(points))

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        values = None
        for (a, b), (r, s) in zip(pairwise(points), pairwise(radii), strict=True):
            step = b - a
            place = (x - a[0], y - a[1], z - a[2])
            share = sum(p * q for p, q in zip(place, step / max(float(step @ step), 1e-6), strict=True))
            share = np.clip(share, 0, 1)
            square = sum((p - share * q) ** 2 for p, q in zip(place, step, strict=True))
            piece = np.sqrt(square) - (r + share * (s - r))
            values = piece if values is None else np.minimum(values, piece)
        return values

    low, high = points.min(0) - radii.max(), points.max(0) + radii.max()
    return Shape(field, tuple(low.tolist()), tuple(high.tolist()))


def waves(rng: np.random.Generator, *, amplitude: float, wavelength: float, count: int = 3) -> Field:
    """A smooth random function of at most `amplitude`: a sum of `count` waves in random directions."""
    vectors = rng.standard_normal((count, 3))
    vectors *= (2 * np.pi / wavelength * rng.uniform(0.7, 1.4, count) / np.linalg.norm(vectors, axis=1))[:, None]
    starts = rng.uniform(0, 2 * np.pi, count)
    vectors, starts = np.float32(vectors), np.float32(starts)

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        total = sum(np.sin(x * k[0] + y * k[1] + z * k[2] + s) for k, s in zip(vectors, starts, strict=True))
        return total * np.float32(amplitude / count)

    return field


def rotation(turn: Triple) -> np.ndarray:
    """(3, 3) of three angles in degrees, about x first, then y, then z."""
    matrix = np.eye(3)
    for axis, angle in enumerate(np.radians(turn)):
        i, j = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        sign = -1 if axis != 1 else 1
        step[i, j], step[j, i] = sign * np.sin(angle), -sign * np.sin(angle)
        matrix = step @ matrix
    return matrix


@dataclass(frozen=True)
class Part:
    """A shape painted over what was there: `hu` is a number or a function of (x, y, z, field).

    `label` None leaves the label map as it is. `thickness` in mm: a shape thinner than a voxel fills only that share.
    """

    shape: Shape
    hu: float | Paint
    label: int | None = None
    thickness: float | None = None
