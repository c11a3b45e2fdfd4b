"""Bodies as functions of place: a field is about the distance to the surface in mm, negative inside.

Places are three float32 arrays (*S), millimetres of a standard patient: x to the right of the patient, y to the front,
z to the head.
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
    """A field and the corners of the box outside which it is positive."""

    field: Field
    low: Triple
    high: Triple

    def grown(self, mm: float) -> "Shape":
        """The shape with a rim of `mm` more, or less where it is negative."""
        rim = max(mm, 0.0)
        low, high = [v - rim for v in self.low], [v + rim for v in self.high]
        return Shape(lambda x, y, z: self.field(x, y, z) - mm, low, high)

    def within(self, *fields: Field) -> "Shape":
        """What lies in the shape and in every field."""
        every = (self.field, *fields)
        return replace(self, field=lambda x, y, z: np.maximum.reduce([field(x, y, z) for field in every]))

    def without(self, field: Field) -> "Shape":
        """What lies in the shape and not in the field."""
        return self.within(lambda x, y, z: -field(x, y, z))


def union(*shapes: Shape) -> Shape:
    """What lies in any of the shapes."""
    low, high = np.min([shape.low for shape in shapes], axis=0), np.max([shape.high for shape in shapes], axis=0)
    return Shape(lambda x, y, z: np.minimum.reduce([shape.field(x, y, z) for shape in shapes]), low, high)


def ellipsoid(
    center: Triple, radii: Triple, *, turn: Triple = (0.0, 0.0, 0.0), bumps: Field | None = None, bump: float = 0.0
) -> Shape:
    """An ellipsoid turned by angles in degrees about x, y, z; `bumps` of at most `bump` mm are added to its surface."""
    center, radii, matrix = np.float32(center), np.float32(radii), np.float32(rotation(turn))

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        place = (x - center[0], y - center[1], z - center[2])
        along = [sum(place[i] * matrix[i, axis] for i in range(3)) / radii[axis] for axis in range(3)]
        near = np.sqrt(sum(a * a for a in along))
        steep = np.sqrt(sum((a / r) ** 2 for a, r in zip(along, radii, strict=True)) + np.float32(1e-12))
        # At the very centre the quotient is 0 / 0; a point inside is never deeper than the smallest radius.
        values = np.where(near < 0.05, -radii.min(), near * (near - 1) / steep)
        return values if bumps is None else values + bumps(x, y, z)

    half = np.sqrt(((matrix * radii) ** 2).sum(1)) + bump
    return Shape(field, center - half, center + half)


def tube(points: Sequence[Triple], radii: float | Sequence[float]) -> Shape:
    """A round tube along a line of points, its radius given once or at each of them."""
    points = np.float32(points)
    radii = np.broadcast_to(np.float32(radii), len(points))

    def piece(places: tuple, start: int) -> np.ndarray:
        step, (r, s) = points[start + 1] - points[start], radii[start : start + 2]
        place = [p - a for p, a in zip(places, points[start], strict=True)]
        share = sum(p * q for p, q in zip(place, step / max(float(step @ step), 1e-6), strict=True))
        share = np.clip(share, 0, 1)
        return np.sqrt(sum((p - share * q) ** 2 for p, q in zip(place, step, strict=True))) - (r + share * (s - r))

    rim = radii.max()
    return Shape(
        lambda *places: np.minimum.reduce([piece(places, i) for i in range(len(points) - 1)]),
        points.min(0) - rim,
        points.max(0) + rim,
    )


def waves(rng: np.random.Generator, *, amplitude: float, wavelength: float, count: int = 3) -> Field:
    """A smooth random function of at most `amplitude`: a sum of `count` waves in random directions."""
    vectors = rng.standard_normal((count, 3))
    vectors *= (2 * np.pi / wavelength * rng.uniform(0.7, 1.4, count) / np.linalg.norm(vectors, axis=1))[:, None]
    turns = np.float32(np.column_stack([vectors, rng.uniform(0, 2 * np.pi, count)]))
    return lambda x, y, z: (
        np.float32(amplitude / count) * sum(np.sin(x * a + y * b + z * c + s) for a, b, c, s in turns)
    )


def rotation(turn: Triple) -> np.ndarray:
    """(3, 3) of three angles in degrees, about x first, then y, then z."""
    (a, b, c), (d, e, f) = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    about_x = np.array([(1, 0, 0), (0, a, -d), (0, d, a)])
    about_y = np.array([(b, 0, e), (0, 1, 0), (-e, 0, b)])
    about_z = np.array([(c, -f, 0), (f, c, 0), (0, 0, 1)])
    return about_z @ about_y @ about_x


@dataclass(frozen=True)
class Part:
    """A shape painted over what was there: `hu` is a number or a function of (x, y, z, field).

    `label` None leaves the label map as it is. `thickness` in mm: a shape thinner than a voxel fills only that share.
    """

    shape: Shape
    hu: float | Paint
    label: int | None = None
    thickness: float | None = None


def pieces(points: Sequence[Triple], radius: float, hu: float | Paint, *, label: int | None = None) -> list[Part]:
    """A thin line as one tube a step, each of which fills a small box only."""
    return [Part(tube(step, radius), hu, label, thickness=1.5 * radius) for step in pairwise(points)]
