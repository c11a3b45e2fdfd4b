"""The trunk: skin, fat and muscle around a cavity, the diaphragm in it, the bones, and the table below."""

from dataclasses import dataclass

import numpy as np

from densevit.synthetic.ct.shapes import Field, Part, Shape, ellipsoid, pieces, tube, waves
from densevit.synthetic.ct.tissues import BACKGROUND, BONE, Tissues

# Half widths and half depths of the muscular wall by height.
HEIGHTS = (-340.0, -230.0, -130.0, -20.0, 90.0, 180.0, 240.0, 290.0)
WIDTHS = (150.0, 152.0, 136.0, 140.0, 148.0, 146.0, 110.0, 60.0)
DEPTHS = (88.0, 88.0, 88.0, 98.0, 100.0, 88.0, 66.0, 50.0)
FAR = 400.0
PITCH = 29.0  # from one vertebra to the next
SPINE = (-330.0, 262.0)
RIBS = (140, 140, 140, 140, 140, 140, 140, 140, 140, 128, 95, 70)  # degrees that each reaches round the trunk


@dataclass(frozen=True)
class Torso:
    """Fields of one trunk; `fat` is the layer's thickness in mm at the sides, `belly` what comes on at the front."""

    fat: float
    belly: float
    domes: tuple[float, float]  # heights of the diaphragm, left and right

    def radius(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """1 on the wall, less inside: between an ellipse and a rounded box."""
        a, b = (np.interp(z, HEIGHTS, values).astype(np.float32) for values in (WIDTHS, DEPTHS))
        a, b = (x / a) ** 2, (y / b) ** 2
        return 0.6 * np.sqrt(a + b) + 0.4 * np.sqrt(np.sqrt(a * a + b * b))

    def wall(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """About the distance to the outside of the muscles, in an axial slice."""
        radius = np.maximum(self.radius(x, y, z), 0.05)
        return np.sqrt(x * x + y * y) * (1 - 1 / radius) - (radius < 0.06) * 50

    def inner(self, depth: float) -> Field:
        """The field of what lies deeper than `depth` below the wall."""
        return lambda x, y, z: self.wall(x, y, z) + depth

    def cavity(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Inside the wall, in front of the muscles of the back."""
        return np.maximum(self.wall(x, y, z) + 16, -(y + 62 + 0.0016 * x * x))

    def dome(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Height above the diaphragm, negative below."""
        left, right = self.domes
        tops = [top - 95 * (((x - side) / 82) ** 2 + ((y - 20) / 98) ** 2) for side, top in ((-68, left), (68, right))]
        middle = min(left, right) - 12 - 60 * ((y - 30) / 98) ** 2 - 60 * (x / 60) ** 2
        return (z - np.maximum(np.maximum(*tops), middle)) * np.float32(0.7)

    def wall_point(self, angle: float, z: float, *, depth: float) -> tuple[float, float, float]:
        """A point a share `depth` below the wall; angle 0 is the back, 90 the right side, 180 the front."""
        x, y = np.sin(np.radians(angle)), -np.cos(np.radians(angle))
        scale = 1 / float(self.radius(x, y, z)) - depth
        return float(x * scale), float(y * scale), z


def sample_torso(rng: np.random.Generator) -> Torso:
    """Thin to stout, with a diaphragm held higher or lower."""
    fat, right = float(np.clip(rng.gamma(4.0, 4.5), 6, 40)), float(rng.uniform(18, 42))
    return Torso(fat=fat, belly=float(rng.uniform(0.1, 0.8)) * fat, domes=(right - float(rng.uniform(4, 16)), right))


def trunk_parts(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """The table, skin, fat, muscle, and the fat between the organs; everything else is painted over these."""
    uneven, streaks = waves(rng, amplitude=4.0, wavelength=150.0), waves(rng, amplitude=9.0, wavelength=26.0, count=4)
    fat, skin, muscle = tissues["fat"], tissues["skin"], tissues["muscle"]

    def body(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        low = np.clip((60 - z) / 150, 0, 1)  # the belly hangs below the ribs
        rim = torso.fat * (0.75 + 0.35 * low) + torso.belly * np.clip(y / 90, -0.4, 1) * low + uneven(x, y, z)
        return torso.wall(x, y, z) - np.maximum(rim, 3.0)

    def layers(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        inside, outside = np.clip(0.5 - torso.wall(x, y, z) / 3, 0, 1), np.clip(field / 2 + 1.5, 0, 1)
        gaps = np.clip(streaks(x, y, z) - 3.2, 0, 2) / 2  # fat between the muscles of the wall
        return fat + outside * (skin - fat) * (1 - inside) + inside * (muscle - fat) * (1 - 0.55 * gaps)

    def between(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return fat + np.clip(streaks(x, y, z) - 2.0, 0, 5) * 9  # small vessels and folds

    top = -(88.0 + 1.1 * torso.fat + 9)
    board = Shape(lambda x, y, z: np.maximum(abs(y - top + 14 - 0.0005 * x * x) - 14, abs(x) - 205),
                  (-206, top - 40, -FAR), (206, top + 25, FAR))  # fmt: skip
    return [
        Part(board, -250.0, thickness=4.0),
        Part(board.grown(-3.0), -920.0),
        Part(Shape(body, (-FAR, -FAR, -FAR), (FAR, FAR, FAR)), layers, BACKGROUND),
        Part(Shape(torso.cavity, (-160, -90, -FAR), (160, 130, FAR)), between),
    ]


def spine_y(z: np.ndarray | float) -> np.ndarray | float:
    """Where the middle of the vertebral bodies lies: forward in the loin, back in the chest."""
    return -48.0 + 8.0 * np.cos((z + 130) / 75)


def bone_parts(torso: Torso, tissues: Tissues) -> list[Part]:
    """Spine, ribs, sternum and pelvis, marrow inside a denser rim; painted after the organs that they border on."""
    spongy, dense = tissues["cancellous bone"], tissues["cortical bone"]

    def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return spongy + (dense - spongy) * np.exp(-((field / 2) ** 2))

    def vertebra(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        height = (z - SPINE[0]) % PITCH
        return np.maximum(column(x, y, z), 3.5 - np.minimum(height, PITCH - height))

    def column(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.sqrt((x / 22) ** 2 + ((y - spine_y(z)) / 16.5) ** 2) * 18 - 18

    def canal(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return np.sqrt(x * x + (y - spine_y(z) + 24) ** 2) - 8

    box = ((-32.0, -82.0, SPINE[0]), (32.0, -16.0, SPINE[1]))
    parts = [Part(Shape(column, *box), 92.0, BACKGROUND), Part(Shape(vertebra, *box), hu, BONE)]
    for z in np.arange(SPINE[0] + PITCH / 2, SPINE[1], PITCH):
        y = float(spine_y(z))
        for side in (-1, 1):
            arch = [(13 * side, y - 15, z), (15 * side, y - 27, z - 2), (0, y - 35, z - 5), (0, y - 48, z - 14)]
            parts.append(Part(tube(arch, 5.0), hu, BONE, thickness=8.0))
    parts.append(Part(Shape(canal, *box), tissues["spinal cord"], BACKGROUND))
    for number, end in enumerate(RIBS):
        angles = np.linspace(16, end, 11)
        drop = (30 + 5.5 * min(number, 8)) * np.sin(np.radians(np.clip(angles - 10, 0, 90))) ** 1.3
        heights = 222.0 - 24.5 * number - drop - 12 * np.clip((angles - 100) / 60, 0, 1)
        for side in (-1, 1):
            places = [torso.wall_point(side * a, z, depth=0.09) for a, z in zip(angles, heights, strict=True)]
            parts += pieces(places, 5.5, hu, label=BONE)
    front = torso.wall_point(180, 110.0, depth=0.07)[1]
    parts.append(Part(ellipsoid((0, front - 2, 105), (19, 6.5, 80), turn=(4, 0, 0)), hu, BONE))
    return [*parts, *(Part(_wing(side), hu, BONE) for side in (-1, 1))]


def _wing(side: int) -> Shape:
    """One side of the pelvis: the upper rim of a bowl, open at the front."""
    bowl = ellipsoid((22 * side, 25, -255), (118, 118, 120)).field

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        shell = abs(bowl(x, y, z) + 5.5) - 5.5
        crest, front = z + 178 + 0.25 * abs(y + 5), y - 60 - 0.35 * (z + 190)
        return np.maximum.reduce([shell, 62 - side * x, crest, front])

    low, high = sorted((0.0, side * 150.0))
    return Shape(field, (low, -100.0, -340.0), (high, 90.0, -170.0))
