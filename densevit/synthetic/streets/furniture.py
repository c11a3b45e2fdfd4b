"""Poles, lamps, traffic lights and signs, walls and fences, trees and hedges; all stand at z = 0 until moved."""

import numpy as np

from densevit.synthetic.streets.geometry import GLOW, MATT, SOFT, Mesh, blobs, box_faces, disc, join, panel, polygons
from densevit.synthetic.streets.labels import FENCE, POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, WALL

STEEL = np.float32((0.42, 0.43, 0.44))
RED, WHITE, BLUE, YELLOW = np.float32([(0.78, 0.1, 0.1), (0.93, 0.93, 0.92), (0.1, 0.25, 0.65), (0.95, 0.78, 0.12)])
BLACK = np.float32((0.07, 0.07, 0.08))


def pole(height: float, *, width: float = 0.14, x: float = 0.0, color: np.ndarray = STEEL) -> Mesh:
    """A round post: a lit half and a darker one."""
    half = width / 2
    shapes = [panel((x - half, x), (0, height)), panel((x, x + half), (0, height))]
    return polygons(shapes, np.stack([color * 1.1, color * 0.78]), POLE, SOFT)


def street_lamp(rng: np.random.Generator, *, reach: float, glow: float) -> Mesh:
    """A lamp post whose arm reaches `reach` metres over the road (negative to the left)."""
    height = rng.uniform(6.0, 9.0)
    color = STEEL * np.float32(rng.uniform(0.55, 1.15))
    arm = [
        np.array([(0, height - 0.1, 0), (reach, height + 0.3, 0), (reach, height + 0.42, 0), (0, height + 0.05, 0)]),
        panel(tuple(sorted((reach, reach * 1.35))), (height + 0.26, height + 0.44)),
    ]
    head = polygons([panel(tuple(sorted((reach, reach * 1.33))), (height + 0.2, height + 0.28))],
                    np.float32((1, 0.95, 0.75)) * max(glow, 0.5), POLE, GLOW)  # fmt: skip
    return join(
        [pole(height, width=rng.uniform(0.16, 0.24), color=color), polygons(arm, color * 0.9, POLE, SOFT), head]
    )


def _lamp_box(rng: np.random.Generator, *, x: float, y: float) -> Mesh:
    lit = int(rng.integers(3))
    lamps = np.float32([(0.95, 0.1, 0.08), (1.0, 0.75, 0.1), (0.1, 0.9, 0.5)])
    colors = np.stack([lamps[i] * (1.0 if i == lit else 0.18) for i in range(3)])
    box = polygons([panel((x - 0.19, x + 0.19), (y, y + 1.02))], BLACK + 0.02, TRAFFIC_LIGHT, SOFT)
    discs = [disc((x, y + 0.85 - 0.33 * i, 0), 0.13) for i in range(3)]
    return join([box, polygons(discs, colors, TRAFFIC_LIGHT, GLOW)])


def traffic_light(rng: np.random.Generator, *, reach: float) -> Mesh:
    """A signal post; with some luck an arm over the road carries a second signal."""
    tall = rng.random() < 0.5
    height = 5.6 if tall else 3.4
    parts = [pole(height, width=0.17, color=STEEL * 0.8), _lamp_box(rng, x=0.0, y=2.4)]
    if tall:
        arm = panel(tuple(sorted((0.0, reach))), (5.3, 5.46))
        parts += [polygons([arm], STEEL * 0.75, POLE, SOFT), _lamp_box(rng, x=reach, y=4.6)]
    return join(parts)


def _plate(rng: np.random.Generator, y: float) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Shapes and colours of one random sign with its middle at height y."""
    kind = int(rng.integers(7))
    triangle = np.array([(-0.45, -0.33, 0), (0.45, -0.33, 0), (0.0, 0.45, 0)])
    diamond = np.array([(-0.45, 0, 0), (0, -0.45, 0), (0.45, 0, 0), (0, 0.45, 0)])
    up = np.array([0, y, 0])
    choices = (
        ([disc((0, y, 0), 0.36, 14), disc((0, y, 0), 0.26, 14)], [RED, WHITE]),
        ([triangle + up, 0.66 * triangle + up], [RED, WHITE]),
        ([disc((0, y, 0), 0.36, 8), panel((-0.24, 0.24), (y - 0.06, y + 0.06))], [RED, WHITE]),
        ([panel((-0.36, 0.36), (y - 0.36, y + 0.36)), panel((-0.12, 0.12), (y - 0.22, y + 0.22))], [BLUE, WHITE]),
        ([diamond + up, 0.68 * diamond + up], [WHITE, YELLOW]),
        ([disc((0, y, 0), 0.36, 14), panel((-0.07, 0.07), (y - 0.2, y + 0.2))], [BLUE, WHITE]),
        ([panel((-0.9, 0.9), (y - 0.3, y + 0.5)), panel((-0.75, 0.6), (y, y + 0.12)),
          panel((-0.75, 0.3), (y + 0.2, y + 0.32))], [YELLOW if rng.random() < 0.5 else BLUE, WHITE, WHITE]),
    )  # fmt: skip
    return choices[kind]


def traffic_sign(rng: np.random.Generator) -> Mesh:
    """A post with one or two signs."""
    parts = [pole(rng.uniform(2.7, 3.2), width=0.09)]
    for y in (2.5, 1.7)[: 1 + int(rng.random() < 0.35)]:
        shapes, colors = _plate(rng, y)
        parts.append(polygons(shapes, np.stack(colors) * np.float32(rng.uniform(0.8, 1.0)), TRAFFIC_SIGN, SOFT))
    return join(parts)


def wall(rng: np.random.Generator, *, x: float, length: float, height: float, color: np.ndarray) -> Mesh:
    """A piece of a wall along the street, with joints and a coping; its near end lies at z = 0."""
    away = (-0.3, 0.0) if x < 0 else (0.0, 0.3)
    across = (x + away[0], x + away[1])
    body = box_faces(across, (0.0, height), (0.0, length))
    cope = box_faces((across[0] - 0.05, across[1] + 0.05), (height, height + 0.12), (0.0, length))
    courses = np.arange(0.5, height - 0.1, 0.5)
    joints = [np.array([(x, y, 0), (x, y, length), (x, y + 0.05, length), (x, y + 0.05, 0)]) for y in courses]
    stain = rng.uniform(0.9, 1.05)
    return join([polygons(body, color * np.float32(stain), WALL), polygons(cope, color * 1.15, WALL),
                 polygons(joints, color * 0.8, WALL)])  # fmt: skip


def fence(style: int, *, x: float, length: float, height: float, color: np.ndarray) -> Mesh:
    """A piece of a fence along the street: 0 pickets, 1 a railing, 2 closed boards; labelled as one surface."""
    board = np.array([(x, 0.0, 0.0), (x, 0.0, length), (x, height, length), (x, height, 0.0)])
    backs = (np.float32((0.2, 0.23, 0.18)), np.float32((0.3, 0.31, 0.31)), color)
    shapes, colors = [board], [backs[style]]
    step, width = ((0.28, 0.13), (1.25, 0.09), (0.6, 0.04))[style]
    tone = 0.72 if style == 2 else 1.0
    for z in np.arange(0.0, length, step):
        shapes.append(np.array([(x, 0, z), (x, 0, z + width), (x, height * 1.04, z + width), (x, height * 1.04, z)]))
        colors.append(color * tone)
    for y in (0.3 * height, 0.62 * height, 0.94 * height)[(0 if style == 1 else 1) :]:
        shapes.append(np.array([(x, y, 0), (x, y, length), (x, y + 0.08, length), (x, y + 0.08, 0)]))
        colors.append(color * 1.1)
    return polygons(shapes, np.stack(colors), FENCE, MATT)


def _leaf_colors(rng: np.random.Generator, tone: np.ndarray, *, up: np.ndarray, sunward: np.ndarray) -> np.ndarray:
    """Leaves are brighter at the top and towards the sun: up and sunward (n,) in -1..1 -> (n, 3)."""
    shade = 0.8 + 0.28 * up + 0.22 * sunward + rng.normal(0, 0.11, len(up))
    return tone * np.clip(shade, 0.25, 1.7)[:, None].astype(np.float32)


def leaf_tone(rng: np.random.Generator) -> np.ndarray:
    """The mean colour of one kind of leaf, autumn now and then."""
    tones = np.float32(
        [(0.2, 0.31, 0.11), (0.26, 0.37, 0.14), (0.16, 0.25, 0.12), (0.33, 0.38, 0.15), (0.46, 0.35, 0.12)]
    )
    return tones[rng.choice(5, p=[0.3, 0.28, 0.2, 0.15, 0.07])] * rng.uniform(0.85, 1.15, 3).astype(np.float32)


def tree(rng: np.random.Generator, *, sun_x: float, detail: int) -> Mesh:
    """A broad-leaved tree or a poplar, with `detail` clumps of leaves."""
    slim = rng.random() < 0.2
    height = rng.uniform(5.0, 11.0)
    spread = rng.uniform(0.8, 1.3) if slim else height * rng.uniform(0.24, 0.36)
    stem = rng.uniform(1.6, 2.6)
    middle, rise = (height + stem) / 2, (height - stem) / 2
    direction = rng.normal(size=(detail, 3))
    direction *= (rng.uniform(0.1, 1, (detail, 1)) ** 0.4) / np.linalg.norm(direction, axis=1, keepdims=True)
    direction = direction[np.argsort(-direction[:, 2])]
    centers = direction * (spread, rise, 0.5 * spread) + (0, middle, 0)
    radii = rng.uniform(0.7, 1.4, detail) * min(spread, rise) / detail**0.4
    trunk = polygons([np.array([(-0.16, 0, 0), (0.16, 0, 0), (0.09, middle, 0), (-0.09, middle, 0)]),
                      np.array([(0.02, 0, 0), (0.17, 0, 0), (0.1, middle, 0), (0.0, middle, 0)])],
                     np.float32([(0.3, 0.24, 0.19), (0.2, 0.16, 0.13)]), VEGETATION, SOFT)  # fmt: skip
    colors = _leaf_colors(rng, leaf_tone(rng), up=direction[:, 1], sunward=direction[:, 0] * np.sign(sun_x))
    return join([trunk, polygons(blobs(centers, radii, rng), colors, VEGETATION, SOFT)])


def hedge(rng: np.random.Generator, *, length: float, height: float, detail: int) -> Mesh:
    """A row of bushes along the street, its near end at z = 0."""
    z = np.sort(rng.uniform(0, length, detail))[::-1]
    y = rng.uniform(0.1, 1.0, detail) ** 0.6 * height * 0.85
    centers = np.stack([rng.normal(0, 0.25, detail), y, z], axis=1)
    colors = _leaf_colors(rng, leaf_tone(rng), up=2 * y / height - 1, sunward=np.zeros(detail))
    return polygons(blobs(centers, rng.uniform(0.25, 0.5, detail) * height, rng), colors, VEGETATION, SOFT)
