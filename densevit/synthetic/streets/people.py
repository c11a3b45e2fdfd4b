"""Pedestrians, bicycles, motorcycles and those who ride them: flat figures that face the camera or stand across."""

import numpy as np

from densevit.synthetic.streets.geometry import MATT, SOFT, Mesh, disc, join, polygons
from densevit.synthetic.streets.labels import BICYCLE, MOTORCYCLE, PERSON, RIDER

SKIN = np.float32([(0.86, 0.68, 0.56), (0.72, 0.52, 0.4), (0.45, 0.31, 0.23), (0.9, 0.75, 0.65)])
CLOTHES = np.float32(
    [(0.1, 0.11, 0.14), (0.18, 0.22, 0.35), (0.45, 0.44, 0.42), (0.65, 0.15, 0.14), (0.8, 0.79, 0.76),
     (0.3, 0.36, 0.24), (0.5, 0.38, 0.26), (0.2, 0.4, 0.55), (0.78, 0.62, 0.2), (0.36, 0.2, 0.38)]
)  # fmt: skip
HAIR = np.float32([(0.12, 0.09, 0.08), (0.3, 0.2, 0.12), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5)])
DARK = np.float32((0.08, 0.08, 0.09))


def limb(start: tuple[float, float], end: tuple[float, float], widths: tuple[float, float]) -> np.ndarray:
    """A tapered bar between two points of the (x, y) plane at z = 0: (4, 3)."""
    (x0, y0), (x1, y1) = start, end
    length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
    nx, ny = (y1 - y0) / length / 2, -(x1 - x0) / length / 2
    (a, b) = widths
    return np.array([(x0 - a * nx, y0 - a * ny, 0), (x0 + a * nx, y0 + a * ny, 0), (x1 + b * nx, y1 + b * ny, 0),
                     (x1 - b * nx, y1 - b * ny, 0)])  # fmt: skip


def pedestrian(rng: np.random.Generator, *, x: float, z: float) -> Mesh:
    """Someone who stands or walks at (x, z)."""
    coat, trousers = CLOTHES[rng.integers(len(CLOTHES), size=2)] * np.float32(rng.uniform(0.8, 1.15))
    skin, hair = SKIN[rng.integers(len(SKIN))], HAIR[rng.integers(len(HAIR))]
    step, swing, lean = rng.uniform(0.03, 0.3), rng.uniform(-0.25, 0.25), rng.uniform(-0.03, 0.03)
    long_coat = rng.random() < 0.25
    hip = 0.62 if long_coat else 0.86
    shapes = [
        limb((-0.07, 0.9), (-step / 2 - 0.05, 0.06), (0.19, 0.11)),
        limb((0.07, 0.9), (step / 2 + 0.05, 0.06), (0.19, 0.11)),
        limb((-step / 2 - 0.08, 0.05), (-step / 2 + 0.1, 0.05), (0.1, 0.08)),
        limb((step / 2 + 0.02, 0.05), (step / 2 + 0.2, 0.05), (0.1, 0.08)),
        limb((lean - 0.19, 1.4), (-0.22 - swing, 0.85), (0.13, 0.09)),
        limb((lean + 0.19, 1.4), (0.22 - swing, 0.85), (0.13, 0.09)),
        np.array([(-0.17, hip, 0), (0.17, hip, 0), (lean + 0.23, 1.38, 0), (lean + 0.12, 1.48, 0),
                  (lean - 0.12, 1.48, 0), (lean - 0.23, 1.38, 0)]),
        limb((lean, 1.42), (lean, 1.56), (0.11, 0.1)),
        disc((lean, 1.63, 0), 0.115),
        np.array([(lean - 0.12, 1.62, 0), (lean + 0.12, 1.62, 0), (lean + 0.09, 1.73, 0), (lean, 1.76, 0),
                  (lean - 0.09, 1.73, 0)]),
    ]  # fmt: skip
    colors = [trousers, trousers * 0.85, DARK, DARK, coat * 0.85, coat * 0.8, coat, skin, skin, hair]
    if rng.random() < 0.3:
        shapes.append(np.array([(0.18, 0.7, 0), (0.36, 0.7, 0), (0.36, 0.95, 0), (0.18, 0.95, 0)]))
        colors.append(CLOTHES[rng.integers(len(CLOTHES))])
    figure = polygons(shapes, np.stack(colors), PERSON, SOFT)
    figure.vertices[:] *= np.float32(rng.uniform(0.88, 1.08))
    if rng.random() < 0.1:
        figure.vertices[:] *= np.float32(0.72)
    return figure.moved(x, z)


def _turned(mesh: Mesh, yaw: float) -> Mesh:
    """Turn a figure that stands across the view; yaw 0 shows it from the side, pi / 2 from behind."""
    x, _, z = mesh.vertices.T.copy()
    mesh.vertices[:, 0] = x * np.cos(yaw) - z * np.sin(yaw)
    mesh.vertices[:, 2] = x * np.sin(yaw) + z * np.cos(yaw)
    return mesh


def _wheels(radius: float, base: float) -> list[np.ndarray]:
    return [disc((s * base / 2, radius, 0), r * radius, 12) for s in (-1, 1) for r in (1.0, 0.82)]


def _end_on(height: float, width: float, *, tyre: float) -> list[np.ndarray]:
    """Tyre, handlebar and mudguard as they look from behind."""
    return [
        limb((0, 0.0), (0, 0.68), (tyre, tyre)),
        limb((-width, height), (width, height), (0.06, 0.06)),
        limb((0, 0.5), (0, height), (tyre * 1.6, tyre)),
    ]


def bicycle(rng: np.random.Generator, *, x: float, z: float, yaw: float) -> Mesh:
    """A bicycle whose middle stands at (x, z)."""
    frame = CLOTHES[rng.integers(len(CLOTHES))]
    if abs(np.cos(yaw)) < 0.45:
        return polygons(_end_on(1.0, 0.29, tyre=0.09), np.stack([DARK, DARK + 0.1, frame]), BICYCLE, SOFT).moved(x, z)
    hub, seat, bar, pedal = (-0.52, 0.34), (-0.2, 0.95), (0.38, 1.02), (-0.03, 0.3)
    tubes = [(hub, seat), (hub, pedal), (seat, pedal), ((-0.17, 0.82), (0.4, 0.85)), (pedal, (0.4, 0.85)),
             (bar, (0.52, 0.34)), ((-0.32, 0.97), (-0.1, 0.97)), ((0.3, 1.04), (0.44, 1.0))]  # fmt: skip
    shapes = [*_wheels(0.34, 1.04), *(limb(a, b, (0.055, 0.055)) for a, b in tubes)]
    spokes = np.float32((0.36, 0.36, 0.37))
    colors = np.stack([DARK, spokes, DARK, spokes, *[frame] * 6, DARK, DARK])
    return _turned(polygons(shapes, colors, BICYCLE, SOFT), yaw).moved(x, z)


def motorcycle(rng: np.random.Generator, *, x: float, z: float, yaw: float) -> Mesh:
    """A motorcycle or scooter whose middle stands at (x, z)."""
    paint = CLOTHES[rng.integers(len(CLOTHES))]
    if abs(np.cos(yaw)) < 0.45:
        back = np.array([(-0.2, 0.45, 0), (0.2, 0.45, 0), (0.16, 0.9, 0), (-0.16, 0.9, 0)])
        shapes = [*_end_on(1.05, 0.38, tyre=0.2), back, disc((0, 0.74, 0), 0.08)]
        colors = np.stack([DARK, DARK + 0.1, DARK, paint, np.float32((0.7, 0.08, 0.06))])
        return polygons(shapes, colors, MOTORCYCLE, SOFT).moved(x, z)
    shapes = [
        *_wheels(0.32, 1.4),
        np.array([(-0.5, 0.3, 0), (0.35, 0.25, 0), (0.5, 0.5, 0), (0.2, 0.8, 0), (-0.5, 0.62, 0)]),
        np.array([(-0.95, 0.72, 0), (-0.75, 0.6, 0), (0.05, 0.7, 0), (0.3, 0.82, 0), (0.12, 0.98, 0), (-0.1, 0.8, 0),
                  (-0.8, 0.84, 0)]),
        limb((0.7, 0.32), (0.42, 1.05), (0.1, 0.08)),
        np.array([(0.3, 0.7, 0), (0.58, 0.72, 0), (0.52, 1.02, 0), (0.36, 1.1, 0)]),
        limb((-0.2, 0.28), (-0.95, 0.34), (0.12, 0.1)),
    ]  # fmt: skip
    rim = np.float32((0.3, 0.3, 0.31))
    chrome = np.float32((0.6, 0.6, 0.62))
    colors = np.stack([DARK, rim, DARK, rim, DARK + 0.12, paint, chrome, paint * 0.9, chrome])
    return _turned(polygons(shapes, colors, MOTORCYCLE, SOFT), yaw).moved(x, z)


def _rider(rng: np.random.Generator, *, seat: float, helmet: bool, side: bool) -> Mesh:
    """The upper and lower body of someone who sits at height `seat`, seen from the side or from behind."""
    coat, trousers = CLOTHES[rng.integers(len(CLOTHES), size=2)]
    head = CLOTHES[rng.integers(len(CLOTHES))] if helmet else HAIR[rng.integers(len(HAIR))]
    skin = SKIN[rng.integers(len(SKIN))]
    if side:
        shapes = [limb((-0.2, seat), (0.16, seat - 0.22), (0.2, 0.15)),
                  limb((0.16, seat - 0.2), (0.02, 0.25), (0.14, 0.1)),
                  limb((-0.22, seat - 0.05), (0.1, seat + 0.52), (0.27, 0.3)),
                  limb((0.1, seat + 0.45), (0.4, seat + 0.12), (0.12, 0.08)), disc((0.18, seat + 0.68, 0), 0.12),
                  disc((0.16, seat + 0.72, 0), 0.125)]  # fmt: skip
    else:
        shapes = [limb((-0.1, seat), (-0.19, 0.3), (0.18, 0.11)), limb((0.1, seat), (0.19, 0.3), (0.18, 0.11)),
                  limb((0, seat - 0.08), (0, seat + 0.55), (0.32, 0.42)),
                  limb((-0.2, seat + 0.45), (-0.27, seat + 0.1), (0.12, 0.1)), disc((0, seat + 0.67, 0), 0.12),
                  disc((0, seat + 0.71, 0), 0.125)]  # fmt: skip
    return polygons(shapes, np.stack([trousers, trousers * 0.85, coat, coat * 0.8, skin, head]), RIDER, SOFT)


def ridden(rng: np.random.Generator, kind: str, *, x: float, z: float, yaw: float) -> Mesh:
    """A bicycle or motorcycle with its rider."""
    side = abs(np.cos(yaw)) >= 0.45
    build = bicycle if kind == "bicycle" else motorcycle
    seat, helmet = (0.97, rng.random() < 0.5) if kind == "bicycle" else (0.86, True)
    rider = _rider(rng, seat=float(seat), helmet=bool(helmet), side=side)
    rider = _turned(rider, yaw) if side else rider
    rider.shading[:] = SOFT if side else MATT
    return join([build(rng, x=x, z=z, yaw=yaw), rider.moved(x, z - 0.02)])
