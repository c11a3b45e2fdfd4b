"""Liver with tumours, gall bladder, spleen, kidneys, pancreas, stomach, bowel and the muscles beside the spine."""

import numpy as np

from densevit.synthetic.ct.bones import spine_y
from densevit.synthetic.ct.labels import BACKGROUND, LEFT_KIDNEY, LIVER, RIGHT_KIDNEY, SPLEEN, TUMOUR
from densevit.synthetic.ct.shapes import Paint, Part, Shape, ellipsoid, tube, waves
from densevit.synthetic.ct.tissues import Tissues
from densevit.synthetic.ct.torso import Torso

GAS = -970.0
TUMOURS = (0, 1, 1, 2, 3)  # how many a liver may have, each equally likely


def abdomen_parts(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Organs below the diaphragm, the bowel first, so that firm organs push it aside."""
    muscles = [
        tube([(side * 30, spine_y(-70) + 2, -70), (side * 46, -34, -150), (side * 62, -16, -230), (side * 74, 4, -300)],
             (9, 17, 20, 15)) for side in (-1, 1)
    ]  # fmt: skip
    parts = [Part(shape, tissues["muscle"], BACKGROUND) for shape in muscles]
    parts += _bowel(rng, torso, tissues)
    parts += _stomach(rng, torso, tissues)
    parts += _kidneys(rng, tissues)
    parts += _pancreas(rng, tissues)
    parts += _spleen(rng, torso, tissues)
    return [*parts, *_liver(rng, torso, tissues)]


def _below(torso: Torso, shape: Shape, *, depth: float = 15.0, gap: float = 0.0) -> Shape:
    """The part of a shape inside the ribs and `gap` below the diaphragm."""
    return shape.within(torso.inner(depth), lambda x, y, z: torso.dome(x, y, z) + gap)


def _liver(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    size = rng.uniform(0.94, 1.08)
    bumps = waves(rng, amplitude=5.0, wavelength=120.0)
    low = rng.uniform(-12, 8)
    right = ellipsoid((70, 0, -48 + low), np.array((80, 90, 100)) * size, turn=(8, 14, 0), bumps=bumps, bump=5.0)
    left = ellipsoid((2, 50, -22 + low), np.array((82, 34, 42)) * size, turn=(0, -12, -8), bumps=bumps, bump=5.0)
    hollow = ellipsoid((4, -22, -122 + low), (74, 78, 74), turn=(0, -18, 0), bumps=bumps, bump=5.0)
    liver = _below(torso, right.joined(left, soft=22).without(hollow.field, _left_of_the_spine))
    centre = np.array((52.0, 0.0, -22.0 + low))
    shade = waves(rng, amplitude=4.0, wavelength=60.0, count=4)

    def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return tissues["liver"] + shade(x, y, z)

    parts = [Part(liver, hu, LIVER)]
    for _ in range(9):
        goal = centre + rng.normal(0, 1, 3) * (42, 38, 36)
        branch = tube((centre, (centre + goal) / 2 + rng.normal(0, 5, 3), goal), (5, 3.5, 2))
        parts.append(Part(branch.within(liver.grown(-4).field), tissues["vein"], None, thickness=6.0))
    parts += [_tumour(rng, liver, tissues) for _ in range(int(rng.choice(TUMOURS)))]
    bladder = ellipsoid((42, 34, -92 + low), np.array((13, 15, 26)) * rng.uniform(0.7, 1.2), turn=(35, 0, 0))
    return [*parts, Part(bladder, tissues["bile"], BACKGROUND)]


def _left_of_the_spine(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Negative behind a slanting plane, where the liver leaves room for spine, aorta and stomach."""
    return 0.5 * x + 0.85 * y + 12


def _tumour(rng: np.random.Generator, liver: Shape, tissues: Tissues) -> Part:
    """A lesion of 6 to 22 mm radius, somewhere inside the liver."""
    radius = float(np.exp(rng.uniform(np.log(6), np.log(22))))
    tries = np.float32(rng.uniform(liver.low, liver.high, (4096, 3)))
    inside = np.flatnonzero(liver.field(*tries.T) < -0.6 * radius)
    centre = tries[inside[0]] if len(inside) else np.float32((80, -10, -50))
    bumps = waves(rng, amplitude=0.2 * radius, wavelength=3 * radius)
    shape = ellipsoid(centre, radius * rng.uniform(0.8, 1.2, 3), turn=rng.uniform(-45, 45, 3), bumps=bumps, bump=radius)
    return Part(shape.within(liver.field), tissues["tumour"], TUMOUR)


def _spleen(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    bumps = waves(rng, amplitude=3.0, wavelength=70.0)
    centre = np.array((-104, -34, -62)) + rng.normal(0, (3, 4, 7))
    radii = np.array((32, 52, 54)) * rng.uniform(0.82, 1.15)
    shape = ellipsoid(centre, radii, turn=(25, 12, 24), bumps=bumps, bump=3.0)
    hollow = ellipsoid(centre + np.array((62, 34, 0)), (50, 44, 70))
    # In the arterial phase blood has not yet reached all of the spleen.
    stripes = waves(rng, amplitude=35.0 if tissues.phase == "arterial" else 3.0, wavelength=28.0, count=4)
    shape = _below(torso, shape.without(hollow.field), gap=2.0)
    return [Part(shape, lambda x, y, z, field: tissues["spleen"] + stripes(x, y, z), SPLEEN)]


def _kidneys(rng: np.random.Generator, tissues: Tissues) -> list[Part]:
    parts = []
    for side, z, label in ((-1, -108, LEFT_KIDNEY), (1, -118, RIGHT_KIDNEY)):
        centre = np.array((side * 62, -32, z)) + rng.normal(0, (4, 3, 8))
        radii = np.array((28, 26, 54)) * rng.uniform(0.88, 1.1)
        turn = (-12, side * 12, -side * 35)
        bumps = waves(rng, amplitude=2.0, wavelength=60.0)
        outside = ellipsoid(centre, radii, turn=turn, bumps=bumps, bump=2.0)
        hilum = ellipsoid(centre + np.array((-side * 25, 12, 0)), (17, 15, 21), turn=turn)
        kidney = outside.without(hilum.field)

        def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray, outside: Shape = outside) -> np.ndarray:
            inner = np.clip((-outside.field(x, y, z) - 8) / 3, 0, 1)
            return tissues["cortex"] + inner * (tissues["medulla"] - tissues["cortex"])

        gland = tube(
            [
                centre + np.array((-side * 14, 14, 56)),
                centre + np.array((-side * 22, 6, 62)),
                centre + np.array((-side * 20, 20, 58)),
            ],
            4.0,
        )
        parts += [
            Part(gland, tissues["muscle"], BACKGROUND, thickness=8.0),
            Part(outside.grown(7.0), tissues["fat"], BACKGROUND),
            Part(kidney, hu, label),
        ]
    return parts


def _pancreas(rng: np.random.Generator, tissues: Tissues) -> list[Part]:
    line = np.array([(34, 10, -104), (18, 16, -82), (-10, 22, -68), (-40, 4, -52), (-70, -18, -40)])
    line = line + rng.normal(0, 4, line.shape)
    vein = line + np.array((4, -14, 3))
    return [
        Part(tube(line, (15, 12, 10, 10, 8)), tissues["pancreas"], BACKGROUND),
        Part(tube(vein[1:], 4.5), tissues["vein"], BACKGROUND, thickness=9.0),
    ]


def _stomach(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    size = rng.uniform(0.75, 1.15)
    fundus = ellipsoid((-62, 12, -10), np.array((42, 44, 48)) * size)
    body = tube([(-62, 20, -20), (-48, 44, -70), (-14, 52, -92), (14, 42, -92)], np.array((32, 28, 20, 14)) * size)
    stomach = _below(torso, fundus.joined(body, soft=12), gap=2.0)
    return [
        Part(stomach, tissues["gut wall"], BACKGROUND),
        Part(stomach.grown(-4.0), _contents(tissues["fluid"], level=float(rng.uniform(20, 60))), BACKGROUND),
    ]


def _contents(hu: float, *, level: float) -> Paint:
    """Gas above a fluid that stands level in a patient who lies on the back."""
    return lambda x, y, z, field: hu + (GAS - hu) * np.clip((y - level) / 2 + 0.5, 0, 1)


def _bowel(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """A frame of large bowel around loops of small bowel."""
    frame = [(104, -8, -225), (108, -14, -170), (100, 4, -118), (62, 56, -128), (0, 66, -140), (-62, 54, -118),
             (-100, 0, -80), (-108, -24, -140), (-104, -18, -200), (-84, 0, -250)]  # fmt: skip
    frame = np.array(frame, float) + rng.normal(0, 6, (len(frame), 3))
    lumps = waves(rng, amplitude=5.0, wavelength=34.0, count=4)
    mottle = waves(rng, amplitude=90.0, wavelength=22.0, count=5)
    filled = rng.uniform(20, 28, len(frame))
    parts = []
    for i in range(len(frame) - 1):
        shape = tube(frame[i : i + 2], filled[i : i + 2])
        shape = Shape(lambda x, y, z, f=shape.field: f(x, y, z) + lumps(x, y, z), shape.low, shape.high)
        shape = shape.grown(5.0).within(torso.cavity)
        level = float(rng.uniform(-10, 30) + min(frame[i, 1], frame[i + 1, 1]))

        def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray, level: float = level) -> np.ndarray:
            stool = tissues["stool"] + np.minimum(mottle(x, y, z), 30)
            return stool + (GAS - stool) * np.clip((y - level) / 3 + 0.5, 0, 1)

        parts += [Part(shape, tissues["gut wall"], BACKGROUND), Part(shape.grown(-3.0), hu, BACKGROUND)]
    for _ in range(int(rng.integers(22, 34))):
        centre = np.array((rng.uniform(-80, 80), rng.uniform(-5, 68), rng.uniform(-280, -135)))
        loop = np.cumsum([centre, *rng.normal(0, 1, (3, 3)) * (22, 12, 16)], axis=0)
        shape = tube(loop, float(rng.uniform(9, 14))).within(torso.inner(20.0), lambda x, y, z: z + 125)
        fill = _contents(tissues["fluid"] + 20, level=float(rng.choice([-400, 15, 400, 400, 400]) + loop[0, 1]))
        parts += [Part(shape, tissues["gut wall"], None, thickness=20.0)]
        parts += [Part(shape.grown(-2.5), fill)]
    return parts
