"""Lungs with their vessels, airways, heart, great vessels."""

import numpy as np

from densevit.synthetic.ct.bones import spine_y
from densevit.synthetic.ct.labels import AORTA, BACKGROUND, HEART, LUNGS
from densevit.synthetic.ct.shapes import Paint, Part, Shape, ellipsoid, tube, waves
from densevit.synthetic.ct.tissues import AIR, Tissues
from densevit.synthetic.ct.torso import Torso

VESSELS = 26  # branches of each lung
DIVIDE = -165.0  # where the aorta divides


def chest_parts(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """The organs above the diaphragm, and the large vessels of the whole trunk."""
    heart = _heart(rng)
    lungs = [_lung(rng, torso, side, heart) for side in (-1, 1)]
    parts = []
    for lung, side in zip(lungs, (-1, 1), strict=True):
        parts.append(Part(lung, _lung_hu(rng, tissues), LUNGS))
        parts += _lung_vessels(rng, lung, tissues, side=side)
    parts += _heart_parts(rng, heart, tissues)
    return [*parts, *_vessels(rng, tissues), *_airways(tissues)]


def _heart(rng: np.random.Generator) -> Shape:
    center = np.array((-24, 30, 58)) + rng.normal(0, (5, 4, 6))
    bumps = waves(rng, amplitude=3.0, wavelength=110.0)
    radii = np.array((68, 52, 56)) * rng.uniform(0.88, 1.08)
    return ellipsoid(center, radii, turn=(20, 28, -25), bumps=bumps, bump=3.0)


def _lung(rng: np.random.Generator, torso: Torso, side: int, heart: Shape) -> Shape:
    bumps = waves(rng, amplitude=2.5, wavelength=120.0)

    def inner_side(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Behind and in front the lungs come closer to one another than at the hilum."""
        border = 34 - 12 * np.clip((y - 20) / 70, 0, 1) - 12 * np.clip((-15 - y) / 40, 0, 1) - 0.07 * (z - 80)
        return border + bumps(x, y, z) - side * x

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        wall = torso.wall(x, y, z) + 15
        roof = (z - 238 + 0.012 * (x - side * 55) ** 2 + 0.012 * (y + 10) ** 2) * np.float32(0.7)
        values = np.maximum(np.maximum(wall, inner_side(x, y, z)), np.maximum(-torso.dome(x, y, z), roof))
        return np.maximum(values, 5 - heart.field(x, y, z))

    low, high = sorted((side * 8.0, side * 150.0))
    return Shape(field, (low, -95.0, -95.0), (high, 110.0, 240.0))


def _lung_hu(rng: np.random.Generator, tissues: Tissues) -> Paint:
    cloud = waves(rng, amplitude=22.0, wavelength=55.0, count=5)
    weight = rng.uniform(0.2, 0.8)

    def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return tissues["lung"] + cloud(x, y, z) - weight * y  # blood sinks to the back

    return hu


def _lung_vessels(rng: np.random.Generator, lung: Shape, tissues: Tissues, *, side: int) -> list[Part]:
    """Branches from the hilum outward, each dividing once; thinner towards the wall."""
    parts = []
    hilum = np.array((side * 32.0, -8.0, 85.0))
    hu = 0.5 * (tissues["artery"] + tissues["vein"])
    for _ in range(VESSELS):
        goal = np.array((side * rng.uniform(45, 128), rng.uniform(-78, 80), rng.uniform(-70, 215)))
        fork = hilum + (goal - hilum) * rng.uniform(0.35, 0.6) + rng.normal(0, 6, 3)
        other = fork + (goal - fork) * 0.8 + rng.normal(0, 16, 3)
        for line, radii in (((hilum, fork), (4.2, 2.6)), ((fork, goal), (2.6, 1.0)), ((fork, other), (2.2, 1.0))):
            shape = tube(line, radii).within(lung.field)
            parts.append(Part(shape, hu, None, thickness=2 * float(np.mean(radii))))
    return parts


def _heart_parts(rng: np.random.Generator, heart: Shape, tissues: Tissues) -> list[Part]:
    """A sac of fat, the muscle, and the four rooms as two to the left and two to the right."""
    center = np.array([(a + b) / 2 for a, b in zip(heart.low, heart.high, strict=True)])
    blood, venous = tissues["artery"], 0.5 * (tissues["artery"] + tissues["vein"])
    left = ellipsoid(center + np.array((-17, -2, -8)), (27, 20, 22), turn=(20, 28, -25)).within(heart.grown(-9).field)
    right = ellipsoid(center + np.array((16, 17, -4)), (34, 18, 30), turn=(10, 30, -30)).within(heart.grown(-4).field)
    upper = ellipsoid(center + np.array((2, -24, 18)), (30, 18, 22)).within(heart.grown(-3).field)
    side = ellipsoid(center + np.array((36, -2, 8)), (22, 24, 30)).within(heart.grown(-3).field)
    return [
        Part(heart.grown(5.0), tissues["fat"], BACKGROUND),
        Part(heart, tissues["heart muscle"], HEART),
        *(Part(shape, blood) for shape in (left, upper)),
        *(Part(shape, venous) for shape in (right, side)),
    ]


def _vessels(rng: np.random.Generator, tissues: Tissues) -> list[Part]:
    radius = float(rng.uniform(10, 13.5))
    heights = np.arange(DIVIDE, 140.0, 20.0)
    descending = [
        (-20 + 14 * np.clip((-60 - z) / 80, 0, 1), float(spine_y(z)) + 29 - 0.02 * (z > 0) * z, z) for z in heights
    ]
    arch = [(-22, -26, 140), (-19, -15, 158), (-8, 0, 166), (2, 14, 158), (8, 22, 140), (6, 22, 112), (0, 18, 92)]
    sizes = [*np.linspace(0.78, 1.0, len(descending)), 1.0, 1.05, 1.1, 1.15, 1.2, 1.25, 1.25]
    aorta = tube([*descending, *arch], np.array(sizes) * radius)
    lower = [(-6, float(spine_y(DIVIDE)) + 29, DIVIDE), (-34, -18, -235), (-60, -5, -300)]
    mirrored = [(-x, y, z) for x, y, z in lower]
    cava = [(22, float(spine_y(z)) + 28 + 0.06 * max(z + 80, 0), z) for z in np.arange(DIVIDE, 20.0, 20.0)]
    hollow = [*cava, (22, 8, 30), (24, 10, 45)]
    superior = [(26, 12, 70), (28, 14, 120), (26, 16, 190)]
    trunk = [(-16, 34, 92), (-18, 18, 118), (-30, -2, 118)]
    cross = [(-18, 14, 116), (8, -4, 112), (34, -8, 100)]
    artery, vein = tissues["artery"], tissues["vein"]
    parts = [Part(tube(line, 6.0), artery, BACKGROUND) for line in (lower, mirrored)]
    parts += [Part(tube(hollow, 11.0), vein, BACKGROUND), Part(tube(superior, 9.0), vein, BACKGROUND)]
    parts += [Part(tube(line, 11.0), artery, BACKGROUND) for line in (trunk, cross)]
    parts += [Part(tube([(x, 8, 160), (x * 1.6, 4, 250)], 4.5), artery, BACKGROUND) for x in (-16, 12)]
    return [*parts, Part(aorta, artery, AORTA)]


def _airways(tissues: Tissues) -> list[Part]:
    trachea = tube([(2, -6, 262), (1, -10, 190), (0, -18, 128)], 8.5)
    left = tube([(0, -18, 128), (-20, -16, 108), (-36, -14, 96)], (7.5, 6, 5))
    right = tube([(0, -18, 128), (18, -16, 112), (36, -14, 94)], (8, 7, 5.5))
    gullet = tube([(-2, -24, 262), (-4, -30, 160), (-6, -26, 60), (-14, -10, 12)], 5.5)
    return [
        Part(gullet, tissues["gut wall"], BACKGROUND),
        *(Part(shape.grown(1.5), tissues["muscle"], BACKGROUND) for shape in (trachea, left, right)),
        *(Part(shape, AIR, BACKGROUND) for shape in (trachea, left, right)),
    ]
