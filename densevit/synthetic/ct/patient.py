"""One patient from nothing but a random generator: what lies where, in which phase of the contrast medium."""

from dataclasses import dataclass

import numpy as np

from densevit.synthetic.ct.shapes import Paint, Part, Shape, ellipsoid, pieces, rotation, tube, union, waves
from densevit.synthetic.ct.tissues import (
    AIR,
    AORTA,
    BACKGROUND,
    HEART,
    LEFT_KIDNEY,
    LIVER,
    LUNGS,
    RIGHT_KIDNEY,
    SPLEEN,
    TUMOUR,
    Tissues,
    sample_tissues,
)
from densevit.synthetic.ct.trunk import Torso, bone_parts, sample_torso, spine_y, trunk_parts

TUMOURS = (0, 1, 1, 2, 3)  # how many a liver may have, each equally likely


@dataclass(frozen=True)
class Patient:
    """`parts` in the order in which they are painted, in the standard patient's millimetres.

    `frame` (4, 4) leads from there to the scanner's (right, anterior, superior): size, posture, place on the table.
    """

    parts: tuple[Part, ...]
    frame: np.ndarray
    torso: Torso
    tissues: Tissues


def sample_patient(rng: np.random.Generator) -> Patient:
    """Draw a patient; the same state of `rng` gives the same."""
    tissues, torso, frame = sample_tissues(rng), sample_torso(rng), np.eye(4)
    size = rng.uniform(0.9, 1.08) * rng.uniform(0.96, 1.04, 3)
    frame[:3, :3] = rotation(rng.normal(0, (1.5, 1.5, 3.0))) * size
    frame[:3, 3] = rng.normal(0, (10, 8, 10))
    parts = trunk_parts(rng, torso, tissues)
    for organ in (_gut, _kidneys, _spleen, _liver, _chest):  # firm organs push the gut aside
        parts += organ(rng, torso, tissues)
    return Patient((*parts, *_vessels(rng, tissues), *bone_parts(torso, tissues)), frame, torso, tissues)


def _below(torso: Torso, shape: Shape) -> Shape:
    """The part of a shape inside the ribs and below the diaphragm."""
    return shape.within(torso.inner(15.0), torso.dome)


def _gut(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Loops of bowel, the stomach and the pancreas."""
    wall, parts = tissues["gut wall"], []

    def contents(level: float) -> Paint:
        """Gas above a fluid that stands level in a patient who lies on the back."""
        return lambda x, y, z, field: tissues["fluid"] + (AIR - tissues["fluid"]) * np.clip((y - level) / 2 + 0.5, 0, 1)

    for _ in range(int(rng.integers(26, 38))):
        centre = np.array((rng.uniform(-90, 90), rng.uniform(-5, 68), rng.uniform(-280, -135)))
        loop = np.cumsum([centre, *rng.normal(0, 1, (3, 3)) * (24, 12, 16)], axis=0)
        shape = tube(loop, float(rng.uniform(9, 19))).within(torso.inner(20.0), torso.cavity, lambda x, y, z: z + 125)
        inside = contents(loop[0, 1] + rng.choice([-400, 0, 15, 400, 400]))
        parts += [Part(shape, wall), Part(shape.grown(-2.5), inside)]
    size = rng.uniform(0.75, 1.15)
    fundus = ellipsoid((-62, 12, -10), np.array((42, 44, 48)) * size)
    body = tube([(-62, 20, -20), (-48, 44, -70), (-14, 52, -92), (14, 42, -92)], np.array((32, 28, 20, 14)) * size)
    stomach = _below(torso, union(fundus, body)).grown(-2.0)
    pancreas = np.array([(34, 10, -104), (18, 16, -82), (-10, 22, -68), (-40, 4, -52), (-70, -18, -40)])
    pancreas = tube(pancreas + rng.normal(0, 4, pancreas.shape), (15, 12, 10, 10, 8))
    return [*parts, Part(stomach, wall), Part(stomach.grown(-4.0), contents(float(rng.uniform(20, 60)))),
            Part(pancreas, tissues["pancreas"])]  # fmt: skip


def _kidneys(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Kidneys in their fat, a cortex around a medulla, beside the muscles of the loin."""
    parts = []
    for side, z, label in ((-1, -108, LEFT_KIDNEY), (1, -118, RIGHT_KIDNEY)):
        loin = [
            (side * 30, spine_y(-70) + 2, -70),
            (side * 46, -34, -150),
            (side * 62, -16, -230),
            (side * 74, 4, -300),
        ]
        centre = np.array((side * 62, -32, z)) + rng.normal(0, (4, 3, 8))
        turn, bumps = (-12, side * 12, -side * 35), waves(rng, amplitude=2.0, wavelength=60.0)
        radii = np.array((28, 26, 54)) * rng.uniform(0.88, 1.1)
        whole = ellipsoid(centre, radii, turn=turn, bumps=bumps, bump=2.0)
        hilum = ellipsoid(centre + np.array((-side * 25, 12, 0)), (17, 15, 21), turn=turn)

        def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray, whole: Shape = whole) -> np.ndarray:
            inner = np.clip((-whole.field(x, y, z) - 8) / 3, 0, 1)
            return tissues["cortex"] + inner * (tissues["medulla"] - tissues["cortex"])

        parts += [Part(tube(loin, (9, 17, 20, 15)), tissues["muscle"]), Part(whole.grown(7.0), tissues["fat"]),
                  Part(whole.without(hilum.field), hu, label)]  # fmt: skip
    return parts


def _spleen(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    centre = np.array((-104, -34, -62)) + rng.normal(0, (3, 4, 7))
    radii = np.array((32, 52, 54)) * rng.uniform(0.82, 1.15)
    bumps = waves(rng, amplitude=3.0, wavelength=70.0)
    shape = ellipsoid(centre, radii, turn=(25, 12, 24), bumps=bumps, bump=3.0)
    hollow = ellipsoid(centre + np.array((62, 34, 0)), (50, 44, 70))
    # In the arterial phase blood has not yet reached all of the spleen.
    stripes = waves(rng, amplitude=35.0 if tissues.phase == "arterial" else 3.0, wavelength=28.0, count=4)
    hu = tissues["spleen"]
    return [Part(_below(torso, shape.without(hollow.field)), lambda x, y, z, field: hu + stripes(x, y, z), SPLEEN)]


def _liver(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Two lobes with their veins and tumours."""
    size, low, bumps = rng.uniform(0.94, 1.08), rng.uniform(-12, 8), waves(rng, amplitude=5.0, wavelength=120.0)
    right = ellipsoid((70, 0, -48 + low), np.array((80, 90, 100)) * size, turn=(8, 14, 0), bumps=bumps, bump=5.0)
    left = ellipsoid((2, 50, -22 + low), np.array((82, 34, 42)) * size, turn=(0, -12, -8), bumps=bumps, bump=5.0)
    hollow = ellipsoid((4, -22, -122 + low), (74, 78, 74), turn=(0, -18, 0))
    shade, hu = waves(rng, amplitude=4.0, wavelength=60.0, count=4), tissues["liver"]
    centre, goals = np.array((52.0, 0.0, -22.0 + low)), rng.normal(0, 1, (9, 3)) * (42, 38, 36)

    def room(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return -0.5 * x - 0.85 * y - 12  # for spine, aorta and stomach, behind a slanting plane

    liver = _below(torso, union(right, left).without(hollow.field).within(room))
    inside = liver.grown(-4).field
    veins = [tube((centre, centre + goal), (5, 2)).within(inside) for goal in goals]
    parts = [Part(liver, lambda x, y, z, field: hu + shade(x, y, z), LIVER)]
    parts += [Part(vein, tissues["vein"], thickness=6.0) for vein in veins]
    return [*parts, *(_tumour(rng, liver, tissues) for _ in range(int(rng.choice(TUMOURS))))]


def _tumour(rng: np.random.Generator, liver: Shape, tissues: Tissues) -> Part:
    """A lesion of 6 to 22 mm radius, somewhere inside the liver."""
    radius = float(np.exp(rng.uniform(np.log(6), np.log(22))))
    tries = np.float32(rng.uniform(liver.low, liver.high, (4096, 3)))
    inside = np.flatnonzero(liver.field(*tries.T) < -0.6 * radius)
    centre = tries[inside[0]] if len(inside) else np.float32((80, -10, -50))
    bumps = waves(rng, amplitude=0.2 * radius, wavelength=3 * radius)
    shape = ellipsoid(centre, radius * rng.uniform(0.8, 1.2, 3), turn=rng.uniform(-45, 45, 3), bumps=bumps, bump=radius)
    return Part(shape.within(liver.field), tissues["tumour"], TUMOUR)


def _chest(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Lungs with their vessels, the heart with its blood, and the windpipe."""
    turn, centre = (20, 28, -25), np.array((-24, 30, 58)) + rng.normal(0, (5, 4, 6))
    bumps, radii = waves(rng, amplitude=3.0, wavelength=110.0), np.array((68, 52, 56)) * rng.uniform(0.88, 1.08)
    heart = ellipsoid(centre, radii, turn=turn, bumps=bumps, bump=3.0)
    parts = [part for side in (-1, 1) for part in _lung(rng, torso, tissues, side=side, heart=heart)]
    left = ellipsoid(centre + np.array((-17, -2, -8)), (27, 20, 22), turn=turn).within(heart.grown(-9).field)
    right = ellipsoid(centre + np.array((16, 12, 0)), (36, 22, 32), turn=turn).within(heart.grown(-4).field)
    windpipe = tube([(2, -6, 262), (1, -10, 190), (0, -18, 128)], 8.5)
    mixed = 0.5 * (tissues["artery"] + tissues["vein"])
    return [
        *parts,
        Part(heart.grown(5.0), tissues["fat"], BACKGROUND),
        Part(heart, tissues["heart muscle"], HEART),
        Part(right, mixed),
        Part(left, tissues["artery"]),
        Part(windpipe.grown(1.5), tissues["muscle"], BACKGROUND),
        Part(windpipe, AIR, BACKGROUND),
    ]


def _lung(rng: np.random.Generator, torso: Torso, tissues: Tissues, *, side: int, heart: Shape) -> list[Part]:
    bumps, cloud = waves(rng, amplitude=2.5, wavelength=120.0), waves(rng, amplitude=22.0, wavelength=55.0, count=5)
    weight = rng.uniform(0.2, 0.8)

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        # Behind and in front the lungs come closer to one another than at the hilum.
        border = 34 - 12 * np.clip((y - 20) / 70, 0, 1) - 12 * np.clip((-15 - y) / 40, 0, 1) - 0.07 * (z - 80)
        roof = (z - 238 + 0.012 * (x - side * 55) ** 2 + 0.012 * (y + 10) ** 2) * np.float32(0.7)
        limits = (torso.wall(x, y, z) + 15, border + bumps(x, y, z) - side * x, -torso.dome(x, y, z), roof)
        return np.maximum.reduce([*limits, 5 - heart.field(x, y, z)])

    def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return tissues["lung"] + cloud(x, y, z) - weight * y  # blood sinks to the back

    low, high = sorted((side * 8.0, side * 150.0))
    lung = Shape(field, (low, -95.0, -95.0), (high, 110.0, 240.0))
    parts, hilum = [Part(lung, hu, LUNGS)], np.array((side * 32.0, -8.0, 85.0))
    for _ in range(40):
        goal = np.array((side * rng.uniform(45, 128), rng.uniform(-78, 80), rng.uniform(-70, 215)))
        fork = hilum + (goal - hilum) * rng.uniform(0.35, 0.6) + rng.normal(0, 6, 3)
        branch = tube((hilum, fork, goal), (4.2, 2.6, 1.0)).within(lung.field)
        parts.append(Part(branch, 0.5 * (tissues["artery"] + tissues["vein"]), thickness=5.0))
    return parts


def _vessels(rng: np.random.Generator, tissues: Tissues) -> list[Part]:
    """The aorta from the heart over the arch to where it divides, and the large veins."""
    heights = np.arange(-165.0, 140.0, 20.0)
    aorta = [
        (-20 + 14 * np.clip((-60 - z) / 80, 0, 1), float(spine_y(z)) + 29 - 0.02 * (z > 0) * z, z) for z in heights
    ]
    arch = [(-22, -26, 140), (-19, -15, 158), (-8, 0, 166), (2, 14, 158), (8, 22, 140), (6, 22, 112), (0, 18, 92)]
    sizes = np.array([*np.linspace(0.78, 1.0, len(aorta)), *np.linspace(1.0, 1.25, len(arch))]) * rng.uniform(10, 13.5)
    lower = [(22, float(spine_y(z)) + 28 + 0.06 * max(z + 80, 0), z) for z in np.arange(-165.0, 20.0, 20.0)]
    upper = [(26, 12, 70), (28, 14, 120), (26, 16, 190)]
    veins = [*pieces([*lower, (24, 10, 45)], 11.0, tissues["vein"], label=BACKGROUND),
             *pieces(upper, 9.0, tissues["vein"], label=BACKGROUND)]  # fmt: skip
    return [*veins, Part(tube([*aorta, *arch], sizes), tissues["artery"], AORTA)]
