"""Cars, vans, trucks, buses and trams: side profiles pulled out to a width, with windows, wheels and lamps on them.

Local coordinates: l along the vehicle, w across it, y up, in metres; l = 0 is the middle and the front looks to +l.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from densevit.synthetic.streets.geometry import GLOW, MATT, Mesh, join, polygons
from densevit.synthetic.streets.labels import BUS, CAR, TRAIN, TRUCK

BODY, GLASS, RUBBER, TRIM, TAIL, HEAD, PLATE, CARGO, BAND = range(9)
MATERIALS = np.array(
    [(0, 0, 0), (0.13, 0.16, 0.2), (0.06, 0.06, 0.07), (0.15, 0.15, 0.16), (0.75, 0.08, 0.06), (0.95, 0.95, 0.88),
     (0.9, 0.9, 0.85), (0.85, 0.85, 0.84), (0.9, 0.9, 0.9)], dtype=np.float32
)  # fmt: skip
PAINTS = np.array(
    [(225, 226, 228), (30, 31, 34), (120, 123, 128), (178, 182, 186), (60, 64, 72), (150, 22, 24), (28, 52, 110),
     (20, 70, 60), (196, 180, 150), (40, 90, 150), (208, 208, 202), (84, 20, 28), (226, 160, 20)], dtype=np.float32
) / 255  # fmt: skip

# Profiles: (l, y) as shares of length and height, from the rear foot over the roof to the front foot.
HATCHBACK = [(0, 0.14), (0, 0.55), (0.04, 0.64), (0.13, 0.97), (0.2, 1), (0.54, 1), (0.72, 0.62), (0.96, 0.52),
             (1, 0.4), (1, 0.14)]  # fmt: skip
SEDAN = [(0, 0.15), (0, 0.58), (0.03, 0.66), (0.15, 0.67), (0.3, 0.98), (0.36, 1), (0.55, 0.99), (0.72, 0.64),
         (0.97, 0.54), (1, 0.4), (1, 0.15)]  # fmt: skip
WAGON = [(0, 0.15), (0, 0.55), (0.02, 0.62), (0.08, 0.96), (0.13, 1), (0.58, 1), (0.74, 0.62), (0.97, 0.54), (1, 0.4),
         (1, 0.15)]  # fmt: skip
VAN = [(0, 0.12), (0, 0.5), (0.01, 0.55), (0.02, 0.97), (0.04, 1), (0.74, 1), (0.9, 0.58), (0.99, 0.45), (1, 0.12)]
CAB = [(0.0, 0.14), (0, 0.97), (0.1, 1), (0.85, 1), (0.95, 0.6), (1, 0.55), (1, 0.14)]
BOX = [(0, 0.12), (0, 0.45), (0, 0.97), (0.02, 1), (0.98, 1), (1, 0.95), (1, 0.45), (1, 0.12)]


@dataclass(frozen=True)
class Kind:
    """A type of vehicle: size (l, w, y) in metres, profile and its glazed edges, side windows and wheels."""

    label: int
    size: tuple[float, float, float]
    profile: list[tuple[float, float]]
    glazed: tuple[int, ...]  # profile edges made of glass
    waist: float  # share of the height where the windows start and the sides lean in
    windows: tuple[tuple[float, float, float, float], ...]  # l from, to at the waist; l from, to at the top
    wheels: tuple[float, ...]
    lean: float = 0.82
    skin: int = BODY


KINDS = {
    "hatchback": Kind(CAR, (4.0, 1.75, 1.48), HATCHBACK, (2, 5), 0.63,
                      ((0.1, 0.36, 0.17, 0.36), (0.385, 0.66, 0.385, 0.53)), (0.19, 0.81)),
    "sedan": Kind(CAR, (4.6, 1.8, 1.44), SEDAN, (3, 6), 0.66,
                  ((0.2, 0.42, 0.31, 0.42), (0.445, 0.67, 0.445, 0.55)), (0.2, 0.81)),
    "wagon": Kind(CAR, (4.7, 1.82, 1.52), WAGON, (2, 5), 0.63,
                  ((0.06, 0.2, 0.1, 0.2), (0.22, 0.43, 0.22, 0.43), (0.455, 0.69, 0.455, 0.57)), (0.2, 0.81)),
    "suv": Kind(CAR, (4.5, 1.9, 1.72), WAGON, (2, 5), 0.62,
                ((0.06, 0.2, 0.1, 0.2), (0.22, 0.43, 0.22, 0.43), (0.455, 0.69, 0.455, 0.57)), (0.19, 0.81), 0.86),
    "van": Kind(CAR, (5.0, 1.95, 2.0), VAN, (2, 5), 0.57,
                ((0.06, 0.3, 0.06, 0.3), (0.33, 0.56, 0.33, 0.56), (0.6, 0.84, 0.6, 0.74)), (0.18, 0.82), 0.9),
    "cab": Kind(TRUCK, (2.2, 2.4, 2.8), CAB, (3,), 0.58, ((0.25, 0.85, 0.25, 0.78),), (0.55,), 0.97),
    "cargo": Kind(TRUCK, (5.6, 2.5, 3.5), BOX, (), 0.5, (), (0.2, 0.36), 1.0, CARGO),
    "bus": Kind(BUS, (11.5, 2.55, 3.05), BOX, (1, 5), 0.45,
                tuple((0.02 + 0.12 * i, 0.13 + 0.12 * i, 0.02 + 0.12 * i, 0.13 + 0.12 * i) for i in range(8)),
                (0.2, 0.76), 0.99),
    "tram": Kind(TRAIN, (9.0, 2.4, 3.4), BOX, (1, 5), 0.45,
                 tuple((0.03 + 0.16 * i, 0.17 + 0.16 * i, 0.03 + 0.16 * i, 0.17 + 0.16 * i) for i in range(6)),
                 (), 0.97),
}  # fmt: skip


def _quad(w: tuple[float, float], y: tuple[float, float], along: float) -> np.ndarray:
    return np.array([(along, w[0], y[0]), (along, w[1], y[0]), (along, w[1], y[1]), (along, w[0], y[1])])


def _skin(kind: Kind) -> tuple[list[np.ndarray], list[int]]:
    """The strips of the hull and its two sides, as local polygons with their materials."""
    length, width, height = kind.size
    hull = [(length * (share - 0.5), height * y, width / 2 * (kind.lean if y > kind.waist + 0.1 else 1.0))
            for share, y in kind.profile]  # fmt: skip
    shapes, materials = [], []
    for i, ((l0, y0, w0), (l1, y1, w1)) in enumerate(pairwise(hull)):
        shapes.append(np.array([(l0, -w0, y0), (l0, w0, y0), (l1, w1, y1), (l1, -w1, y1)]))
        materials.append(kind.skin)
        if i in kind.glazed:  # a pane a little inside the edge
            middle = shapes[-1].mean(0)
            shapes.append(middle + (shapes[-1] - middle) * np.array([0.9, 0.88, 0.86]) + np.array([0, 0, 0.01]))
            materials.append(GLASS)
    for sign in (-1, 1):
        shapes.append(np.array([(along, sign * w, y) for along, y, w in hull][::sign]))
        materials.append(kind.skin)
    return shapes, materials


def _side_details(kind: Kind, sign: int) -> tuple[list[np.ndarray], list[int]]:
    """Windows, sill and wheels of one side."""
    length, width, height = kind.size
    waist, top = kind.waist * height, 0.93 * height
    outer, inner = sign * width / 2, sign * width / 2 * kind.lean
    shapes, materials = [], []
    for a, b, c, d in kind.windows:
        ends = [length * (share - 0.5) for share in (a, b, d, c)]
        shapes.append(np.array([(ends[0], outer, waist), (ends[1], outer, waist), (ends[2], inner, top),
                                (ends[3], inner, top)]))  # fmt: skip
        materials.append(GLASS)
    sill = 0.2 * height if kind.label == CAR else 0.16 * height
    foot = kind.profile[0][1] * height
    half = length / 2
    shapes.append(np.array([(-half, outer, foot), (half, outer, foot), (half, outer, sill), (-half, outer, sill)]))
    materials.append(TRIM)
    if kind.label in (BUS, TRAIN):
        shapes.append(np.array([(-half, outer, 0.34 * height), (half, outer, 0.34 * height),
                                (half, outer, 0.41 * height), (-half, outer, 0.41 * height)]))  # fmt: skip
        materials.append(BAND)
    radius = 0.33 if kind.label == CAR else 0.48
    angle = np.arange(12) * (np.pi / 6)
    for share in kind.wheels:
        for size, material in ((radius, RUBBER), (0.58 * radius, PLATE)):
            ring = np.stack([length * (share - 0.5) + size * np.cos(angle), np.full(12, outer),
                             radius + size * np.sin(angle)], axis=1)  # fmt: skip
            shapes.append(ring)
            materials.append(material)
    return shapes, materials


def _underbody(kind: Kind) -> tuple[list[np.ndarray], list[int]]:
    """The tyres and the dark floor between them, as seen from behind and from the front."""
    length, width, height = kind.size
    half, foot = width / 2, kind.profile[0][1] * height
    shapes = [_quad((-0.9 * half, 0.9 * half), (0.55 * foot, foot), end) for end in (-0.4 * length, 0.4 * length)]
    for share in kind.wheels:
        along = length * (share - 0.5)
        end = along + (-0.3 if along < 0 else 0.3)
        shapes += [_quad((w, w + 0.22), (0.0, foot + 0.05), end) for w in (-half + 0.03, half - 0.25)]
    return shapes, [RUBBER] * len(shapes)


def _end_details(kind: Kind) -> tuple[list[np.ndarray], list[int]]:
    """Lamps, bumpers, plates and tyres at rear and front."""
    length, width, height = kind.size
    half, foot = width / 2, kind.profile[0][1] * height
    low, high = (0.38 * height, 0.54 * height) if kind.label == CAR else (0.62, 0.86)
    shapes, materials = [], []
    for end, lamp in ((-length / 2, TAIL), (length / 2, HEAD)):
        if kind.skin == BODY or lamp == TAIL:
            lamps = (low, high) if lamp == TAIL else (low, low + 0.6 * (high - low))
            shapes += [_quad((-half, -half + 0.16 * width), lamps, end), _quad((half, half - 0.16 * width), lamps, end)]
            materials += [lamp, lamp]
        shapes += [_quad((-half, half), (foot, foot + 0.11 * min(height, 2)), end),
                   _quad((-0.26, 0.26), (foot + 0.16, foot + 0.28), end)]  # fmt: skip
        materials += [TRIM, PLATE]
        if lamp == HEAD:
            shapes.append(_quad((-0.3 * width, 0.3 * width), (low - 0.08, low + 0.06), end))
            materials.append(RUBBER)
    return shapes, materials


@lru_cache
def _template(name: str) -> tuple[Mesh, np.ndarray]:
    """The local polygons of one kind, and the stage in which each is drawn (floor, hull, sides, details)."""
    kind = KINDS[name]
    hull, hull_materials = _skin(kind)
    left, left_materials = _side_details(kind, -1)
    right, right_materials = _side_details(kind, 1)
    ends, end_materials = _end_details(kind)
    under, under_materials = _underbody(kind)
    shapes = [*hull, *left, *right, *ends, *under]
    materials = np.array([*hull_materials, *left_materials, *right_materials, *end_materials, *under_materials])
    details = len(shapes) - len(hull) - len(under)
    stages = np.repeat([1, 2, 3, 0], [len(hull) - 2, 2, details, len(under)])
    stages[materials == GLASS] = 3
    mesh = polygons(shapes, MATERIALS[materials], kind.label)
    mesh.shading[:] = np.where(np.isin(materials, (TAIL, HEAD)), GLOW, MATT)
    return mesh, np.stack([stages, materials])


def _toward_camera(vertices: np.ndarray, starts: np.ndarray, *, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which polygons face the camera, and their distance; `inside` is a point within the hull."""
    first, second, third = (vertices[starts + i] for i in range(3))
    normal = np.cross(second - first, third - first)
    middle = (first + third) / 2
    outward = np.einsum("nc,nc->n", normal, middle - inside)
    eye = np.einsum("nc,nc->n", normal, np.float32((0, 1.5, 0)) - middle)
    return outward * eye > 0, np.linalg.norm(middle, axis=1)


def vehicle(
    name: str, *, x: float, z: float, yaw: float, paint: np.ndarray, lamps: float = 0.6, cargo: np.ndarray | None = None
) -> Mesh:
    """A vehicle whose middle stands at (x, z); yaw 0 drives away from the camera, pi comes towards it."""
    template, (stages, materials) = _template(name)
    along, across, up = template.vertices.T
    sin, cos = np.float32(np.sin(yaw)), np.float32(np.cos(yaw))
    vertices = np.stack([x + across * cos + along * sin, up, z + along * cos - across * sin], axis=1)
    colors = template.colors.copy()
    colors[materials == BODY] = paint
    colors[materials == CARGO] = MATERIALS[CARGO] if cargo is None else cargo
    colors[(materials == TAIL) | (materials == HEAD)] *= lamps
    starts = np.cumsum(template.counts) - template.counts
    middle = np.float32((x, 0.5 * KINDS[name].size[2], z))
    seen, distance = _toward_camera(vertices, starts, inside=middle)
    order = np.lexsort((np.where(stages < 3, -distance, 0), stages))
    order = order[seen[order]]
    counts = template.counts[order]
    pick = np.arange(counts.sum()) + np.repeat(starts[order] - np.cumsum(counts) + counts, counts)
    return Mesh(vertices[pick], counts, colors[order], template.labels[order], template.shading[order])


def random_car(rng: np.random.Generator, *, x: float, z: float, yaw: float, lamps: float) -> Mesh:
    """A car of random type and paint."""
    name = str(rng.choice(["hatchback", "sedan", "wagon", "suv", "van"], p=[0.3, 0.22, 0.22, 0.16, 0.1]))
    paint = PAINTS[rng.integers(len(PAINTS))] * np.float32(rng.uniform(0.85, 1.05))
    return vehicle(name, x=x, z=z, yaw=yaw + rng.normal(0, 0.015), paint=paint, lamps=lamps)


def truck(rng: np.random.Generator, *, x: float, z: float, yaw: float, lamps: float) -> Mesh:
    """A lorry with a cab and a box; (x, z) is the middle of its box."""
    paint = PAINTS[rng.integers(len(PAINTS))]
    cargo = np.float32(rng.choice([0.85, 0.55])) + rng.uniform(-0.12, 0.12, 3).astype(np.float32)
    gap = (5.6 + 2.2) / 2 + 0.15
    cab = vehicle("cab", x=x + gap * np.sin(yaw), z=z + gap * np.cos(yaw), yaw=yaw, paint=paint, lamps=lamps)
    box = vehicle("cargo", x=x, z=z, yaw=yaw, paint=paint, lamps=lamps, cargo=cargo)
    return join([cab, box] if np.cos(yaw) > 0 else [box, cab])


def bus(rng: np.random.Generator, *, x: float, z: float, yaw: float, lamps: float) -> Mesh:
    """A city bus in a livery of yellow, red, blue, white or green."""
    colors = np.float32([(0.85, 0.68, 0.1), (0.72, 0.12, 0.12), (0.2, 0.35, 0.65), (0.88, 0.88, 0.86), (0.2, 0.5, 0.3)])
    return vehicle("bus", x=x, z=z, yaw=yaw, paint=colors[rng.integers(5)], lamps=lamps)


def tram(rng: np.random.Generator, *, x: float, z: float, yaw: float, lamps: float) -> list[Mesh]:
    """Three to four cars of a tram; z is the middle of the nearest one."""
    colors = np.float32([(0.86, 0.84, 0.76), (0.75, 0.15, 0.12), (0.9, 0.75, 0.2), (0.55, 0.7, 0.78)])
    paint = colors[rng.integers(4)]
    cars = range(int(rng.integers(3, 5)))
    return [vehicle("tram", x=x, z=z + 9.3 * i, yaw=yaw, paint=paint, lamps=lamps) for i in cars]
