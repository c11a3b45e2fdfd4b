"""Spine, ribs, sternum, shoulder blades and pelvis: marrow inside a denser rim."""

import numpy as np

from densevit.synthetic.ct.labels import BACKGROUND, BONE
from densevit.synthetic.ct.shapes import Paint, Part, Shape, ellipsoid, tube
from densevit.synthetic.ct.tissues import Tissues
from densevit.synthetic.ct.torso import Torso

PITCH = 29.0  # from one vertebra to the next
DISC = 7.0
SPINE = (-330.0, 262.0)
RIBS = 12


def spine_y(z: np.ndarray | float) -> np.ndarray | float:
    """Where the middle of the vertebral bodies lies: forward in the loin, back in the chest."""
    return -48.0 + 8.0 * np.cos((z + 130) / 75)


def bone_hu(tissues: Tissues, *, rim: float = 2.0) -> Paint:
    """Dense at the surface, spongy inside."""
    spongy, dense = tissues["cancellous bone"], tissues["cortical bone"]

    def hu(x: np.ndarray, y: np.ndarray, z: np.ndarray, field: np.ndarray) -> np.ndarray:
        return spongy + (dense - spongy) * np.exp(-((field / rim) ** 2))

    return hu


def bone_parts(torso: Torso, tissues: Tissues) -> list[Part]:
    """All bones, to be painted after the organs that they border on."""
    return [*_spine(tissues), *_ribs(torso, tissues), *_girdles(torso, tissues)]


def _spine(tissues: Tissues) -> list[Part]:
    hu = bone_hu(tissues)

    def column(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        size = 1 - 0.0008 * (z + 60)  # narrower towards the head
        waist = 1.2 * np.cos((z - SPINE[0]) * np.float32(2 * np.pi / PITCH))
        across, along = x / (22 * size), (y - spine_y(z)) / (16.5 * size)
        return (np.sqrt(across * across + along * along) - 1) * 18 * size - waist

    def vertebra(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        height = (z - SPINE[0]) % PITCH
        return np.maximum(column(x, y, z), DISC / 2 - np.minimum(height, PITCH - height))

    box = ((-32.0, -82.0, SPINE[0]), (32.0, -16.0, SPINE[1]))
    parts = [
        Part(Shape(column, *box), tissues["cartilage"], BACKGROUND),
        Part(Shape(vertebra, *box), hu, BONE),
    ]
    for z in np.arange(SPINE[0] + PITCH / 2, SPINE[1], PITCH):
        size = 1 - 0.0008 * (z + 60)
        y = float(spine_y(z)) - 15 * size  # the back of the body
        for side in (-1, 1):
            arch = [(13 * side, y, z), (15 * side, y - 12, z - 2), (5 * side, y - 20, z - 5)]
            parts.append(Part(tube(arch, (5.5, 5.0, 4.5)), hu, BONE))
            across = [(14 * side, y - 9, z), (34 * side, y - 15, z + 2)]
            parts.append(Part(tube(across, (5.0, 3.0)), hu, BONE, thickness=7.0))
        parts.append(Part(tube([(0, y - 20, z - 5), (0, y - 34, z - 14)], (4.5, 3.5)), hu, BONE, thickness=8.0))

    def canal(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        size = 1 - 0.0008 * (z + 60)
        return np.sqrt(x * x + (y - spine_y(z) + 16.5 * size + 8) ** 2) - 8

    parts.append(Part(Shape(canal, *box), tissues["spinal cord"], BACKGROUND))
    return parts


def _ribs(torso: Torso, tissues: Tissues) -> list[Part]:
    hu = bone_hu(tissues, rim=1.6)
    parts = []
    for number in range(RIBS):
        top = 222.0 - 24.5 * number
        end = (165, 168, 168, 166, 163, 160, 156, 150, 140, 128, 95, 70)[number]  # degrees round the trunk
        bony = min(end, 140)
        drop = 30 + 5.5 * min(number, 8)
        for side in (-1, 1):

            def path(first: float, last: float, side: int = side, top: float = top, drop: float = drop) -> list:
                angles = np.linspace(first, last, max(int((last - first) / 12) + 1, 2))
                heights = top - drop * np.sin(np.radians(np.clip(angles - 10, 0, 90))) ** 1.3
                heights = heights - 12 * np.clip((angles - 100) / 60, 0, 1)
                return [torso.wall_point(side * a, z, depth=0.09) for a, z in zip(angles, heights, strict=True)]

            parts += _segments(path(16, bony), (5.5, 5.5), hu, label=BONE)
            if end > bony:
                parts += _segments(path(bony, end), (5.0, 5.0), tissues["cartilage"], label=None)
    return parts


def _segments(points: list, radii: tuple[float, float], hu: float | Paint, *, label: int | None) -> list[Part]:
    """A line as one tube per step: each fills a small box only."""
    return [Part(tube(points[i : i + 2], radii), hu, label, thickness=8.0) for i in range(len(points) - 1)]


def _girdles(torso: Torso, tissues: Tissues) -> list[Part]:
    hu = bone_hu(tissues)
    front = torso.wall_point(180, 110.0, depth=0.07)[1]
    sternum = ellipsoid((0, front - 2, 105), (19, 6.5, 80), turn=(4, 0, 0))
    parts = [Part(sternum, hu, BONE)]
    for side in (-1, 1):
        blade = ellipsoid((92 * side, -92, 165), (44, 4.5, 70), turn=(8, 0, 28 * side))
        parts.append(Part(blade, hu, BONE, thickness=8.0))
        parts.append(Part(_wing(side), hu, BONE))
        parts.append(Part(ellipsoid((92 * side, 15, -318), (24, 24, 24)), hu, BONE))
    sacrum = ellipsoid((0, -66, -262), (52, 17, 62), turn=(-18, 0, 0))
    return [*parts, Part(sacrum, hu, BONE)]


def _wing(side: int) -> Shape:
    """One side of the pelvis: the upper rim of a bowl, open at the front."""
    bowl = ellipsoid((22 * side, 25, -255), (118, 118, 120))

    def field(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        shell = np.maximum(bowl.field(x, y, z), -11 - bowl.field(x, y, z))
        crest = z + 178 + 0.25 * abs(y + 5)
        front = y - 60 - 0.35 * (z + 190)
        return np.maximum(np.maximum(shell, 62 - side * x), np.maximum(crest, front))

    low, high = sorted((0.0, side * 150.0))
    return Shape(field, (low, -100.0, -340.0), (high, 90.0, -170.0))
