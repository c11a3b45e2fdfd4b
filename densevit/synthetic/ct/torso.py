"""The trunk: wall of muscle, fat and skin around it, the cavity inside, the diaphragm, and the table below."""

from dataclasses import dataclass

import numpy as np

from densevit.synthetic.ct.labels import BACKGROUND
from densevit.synthetic.ct.shapes import Field, Part, Shape, waves
from densevit.synthetic.ct.tissues import Tissues

# Half widths and half depths of the muscular wall by height.
HEIGHTS = (-340.0, -230.0, -130.0, -20.0, 90.0, 180.0, 240.0, 290.0)
WIDTHS = (150.0, 152.0, 136.0, 140.0, 148.0, 146.0, 110.0, 60.0)
DEPTHS = (88.0, 88.0, 88.0, 98.0, 100.0, 88.0, 66.0, 50.0)
SKIN = 2.0
FAR = 400.0


@dataclass(frozen=True)
class Torso:
    """Fields of one trunk; `fat` is the layer's thickness in mm at the sides, `belly` what comes on at the front."""

    fat: float
    belly: float
    domes: tuple[float, float]  # heights of the diaphragm, left and right

    def radius(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """1 on the wall, less inside: between an ellipse and a rounded box."""
        heights = np.linspace(-400, 400, 201, dtype=np.float32)
        place = np.clip((z + 400) / 4, 0, 199.999)
        low = place.astype(np.int32)
        share = place - low
        table = [np.float32(np.interp(heights, HEIGHTS, values)) for values in (WIDTHS, DEPTHS)]
        a, b = ((line[low] + share * (line[low + 1] - line[low])) for line in table)
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
        """A point `depth` below the wall; angle 0 is the back, 90 the right side, 180 the front."""
        x, y = np.sin(np.radians(angle)), -np.cos(np.radians(angle))
        scale = 1 / float(self.radius(np.float32([x]), np.float32([y]), np.float32([z]))[0])
        return float(x * (scale - depth)), float(y * (scale - depth)), z


def sample_torso(rng: np.random.Generator) -> Torso:
    """Thin to stout, with a diaphragm held higher or lower."""
    fat = float(np.clip(rng.gamma(4.0, 4.5), 6, 40))
    right = float(rng.uniform(18, 42))
    return Torso(fat=fat, belly=float(rng.uniform(0.1, 0.8)) * fat, domes=(right - float(rng.uniform(4, 16)), right))


def torso_parts(rng: np.random.Generator, torso: Torso, tissues: Tissues) -> list[Part]:
    """Skin, fat, muscle, and the fat between the organs; everything else is painted over these."""
    uneven = waves(rng, amplitude=4.0, wavelength=150.0)
    streaks = waves(rng, amplitude=9.0, wavelength=26.0, count=4)

    def thickness(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        front = np.clip(y / 90, -0.4, 1)
        low = np.clip((60 - z) / 150, 0, 1)  # the belly hangs below the ribs
        return torso.fat * (0.75 + 0.35 * low) + torso.belly * front * low + uneven(x, y, z)

    def body(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        return torso.wall(x, y, z) - np.maximum(thickness(x, y, z), 3.0)

    def layers(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        depth = torso.wall(x, y, z)
        skin, muscle = np.clip((field + SKIN) / 2 + 0.5, 0, 1), np.clip(0.5 - depth / 3, 0, 1)
        fat = tissues["fat"]
        hu = fat + skin * (tissues["skin"] - fat) * (1 - muscle)
        # Fat runs between the muscles of the wall, a few of their fibres apart.
        gaps = np.clip(streaks(x, y, z) - 3.2, 0, 2) / 2
        return hu + muscle * (tissues["muscle"] - fat) * (1 - 0.55 * gaps)

    def between(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return tissues["fat"] + np.clip(streaks(x, y, z) - 2.0, 0, 5) * 9  # small vessels and folds

    everywhere = ((-FAR, -FAR, -FAR), (FAR, FAR, FAR))
    return [
        Part(Shape(body, *everywhere), layers, BACKGROUND),
        Part(Shape(torso.cavity, (-160, -90, -FAR), (160, 130, FAR)), between),
    ]


def table_parts(torso: Torso, tissues: Tissues) -> list[Part]:
    """A hollow board that the patient lies on."""
    top = -(88.0 + 1.1 * torso.fat + 9)

    def board(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        curve = top + 0.0005 * x * x
        return np.maximum(np.maximum(y - curve, curve - 28 - y + 0.0003 * x * x), abs(x) - 205)

    shape = Shape(board, (-206, top - 40, -FAR), (206, top + 25, FAR))
    return [
        Part(shape, tissues["table shell"], thickness=4.0),
        Part(shape.grown(-3.0), tissues["table foam"]),
    ]
