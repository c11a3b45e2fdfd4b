"""What stands on a street but vehicles: people, two-wheelers, posts, plants, houses; each a mesh around (0, 0)."""

from collections.abc import Callable

import numpy as np

from densevit.synthetic.streets.meshes import (
    Color,
    Label,
    Mesh,
    Tone,
    block,
    disc,
    figure,
    join,
    leaves,
    limb,
    one_of,
    rectangle,
)

CLOTHES = np.float32([(0.1, 0.11, 0.14), (0.18, 0.22, 0.35), (0.45, 0.44, 0.42), (0.65, 0.15, 0.14), (0.8, 0.79, 0.76),
                      (0.3, 0.36, 0.24), (0.5, 0.38, 0.26), (0.2, 0.4, 0.55), (0.78, 0.62, 0.2)])  # fmt: skip
SKIN = np.float32([(0.86, 0.68, 0.56), (0.72, 0.52, 0.4), (0.45, 0.31, 0.23)])
HAIR = np.float32([(0.12, 0.09, 0.08), (0.3, 0.2, 0.12), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5)])
PLASTER = np.float32([(200, 188, 165), (176, 160, 140), (186, 186, 182), (150, 140, 130), (165, 110, 88), (140, 84, 66),
                      (205, 196, 150), (160, 170, 178), (190, 150, 120)]) / 255  # fmt: skip
ROOFS = np.float32([(120, 62, 48), (92, 70, 62), (70, 72, 78)]) / 255
LEAVES = np.float32([(0.2, 0.31, 0.11), (0.26, 0.37, 0.14), (0.16, 0.25, 0.12), (0.33, 0.38, 0.15), (0.46, 0.35, 0.12)])


def pedestrian(rng: np.random.Generator, *, label: int = Label.PERSON, lift: float = 0.0, lean: float = 0.0) -> Mesh:
    """Someone who stands or walks; a rider's feet are lifted to the pedals, and the upper body leans by a share."""
    coat, trousers, skin, hair = (one_of(rng, colors) for colors in (CLOTHES, CLOTHES, SKIN, HAIR))
    step, swing, hip = rng.uniform(0.08, 0.35), rng.uniform(-0.25, 0.25), 0.62 if rng.random() < 0.2 else 0.86
    shapes = [(limb((s * 0.07, 0.9), (s * step / 2, 0.06), (0.19, 0.11)), trousers * (1 - 0.1 * s)) for s in (-1, 1)]
    shapes += [(rectangle((s * step / 2 - 0.05, s * step / 2 + 0.13), (0, 0.09)), Tone.DARK) for s in (-1, 1)]
    shapes += [(limb((s * 0.19, 1.4), (s * 0.22 - swing, 0.85), (0.13, 0.09)), coat * 0.82) for s in (-1, 1)]
    torso = np.array([(-0.17, hip), (0.17, hip), (0.23, 1.38), (0.1, 1.5), (-0.1, 1.5), (-0.23, 1.38)])
    shapes += [(torso, coat), (disc((0, 1.63), 0.12), skin), (limb((0, 1.64), (0, 1.77), (0.24, 0.16)), hair)]
    mesh = figure(shapes, label)
    mesh.corners[..., 0] += lean * np.maximum(mesh.corners[..., 1] - 0.9, 0)
    mesh.corners[:] *= np.float32(rng.uniform(0.88, 1.08))
    mesh.corners[..., 1] += lift
    return mesh


def bicycle(rng: np.random.Generator) -> Mesh:
    """A bicycle that stands across the view."""
    frame = one_of(rng, CLOTHES)
    seat, bar, pedal = (-0.2, 0.95), (0.38, 1.02), (-0.03, 0.3)
    tubes = [((-0.52, 0.34), seat), ((-0.52, 0.34), pedal), (seat, pedal), ((-0.17, 0.82), (0.4, 0.85)),
             (pedal, (0.4, 0.85)), (bar, (0.52, 0.34))]  # fmt: skip
    shapes = [
        (disc((s * 0.52, 0.34), r), color) for s in (-1, 1) for r, color in ((0.34, Tone.DARK), (0.27, Tone.STEEL))
    ]
    shapes += [(limb(a, b, (0.06, 0.06)), frame) for a, b in tubes]
    shapes += [(limb((x, y), (x + 0.2, y), (0.06, 0.06)), Tone.DARK) for x, y in ((-0.3, 0.97), (0.28, 1.04))]
    return figure(shapes, Label.BICYCLE)


def motorcycle(rng: np.random.Generator) -> Mesh:
    """A motorcycle that stands across the view."""
    paint = one_of(rng, CLOTHES)
    shapes = [
        (disc((s * 0.7, 0.33), r), color) for s in (-1, 1) for r, color in ((0.33, Tone.DARK), (0.18, Tone.STEEL))
    ]
    engine = np.array([(-0.5, 0.3), (0.35, 0.25), (0.5, 0.5), (0.2, 0.8), (-0.5, 0.62)])
    tank = np.array([(-0.95, 0.72), (-0.75, 0.6), (0.05, 0.7), (0.4, 0.72), (0.3, 0.98), (-0.1, 0.82), (-0.8, 0.84)])
    fork, pipe = limb((0.7, 0.32), (0.42, 1.08), (0.12, 0.1)), limb((-0.2, 0.28), (-0.95, 0.34), (0.12, 0.1))
    shapes += [(engine, (0.2, 0.2, 0.21)), (tank, paint), (fork, Tone.STEEL), (pipe, Tone.STEEL)]
    return figure(shapes, Label.MOTORCYCLE)


def ridden(rng: np.random.Generator, build: Callable[[np.random.Generator], Mesh]) -> Mesh:
    """A bicycle or motorcycle and its rider."""
    rider = pedestrian(rng, label=Label.RIDER, lift=0.22, lean=0.45)
    return join([build(rng), rider.placed(-0.15, -0.02)])


def pole(height: float, *, width: float = 0.14, color: Color = Tone.STEEL) -> Mesh:
    """A post with a lit half and a darker one."""
    tones = np.outer((1.1, 0.78), color)
    halves = ((-width / 2, 0.0), (0.0, width / 2))
    return figure([(rectangle(half, (0, height)), tone) for half, tone in zip(halves, tones, strict=True)], Label.POLE)


def street_lamp(rng: np.random.Generator, *, reach: float, glow: float) -> Mesh:
    """A lamp post whose arm reaches `reach` metres over the road, negative to the left."""
    height, color = rng.uniform(6.0, 9.0), np.float32(Tone.STEEL) * np.float32(rng.uniform(0.55, 1.15))
    arm = limb((0, height - 0.05), (reach, height + 0.3), (0.14, 0.12))
    head = limb((reach, height + 0.3), (1.35 * reach, height + 0.3), (0.2, 0.14))
    lamp = limb((reach, height + 0.18), (1.3 * reach, height + 0.2), (0.08, 0.06))
    shapes = [(arm, color), (head, color), (lamp, np.float32(Tone.LIT) * max(2 * glow, 0.5))]
    return join([pole(height, width=rng.uniform(0.16, 0.24), color=color), figure(shapes, Label.POLE)])


def traffic_light(rng: np.random.Generator, *, reach: float) -> Mesh:
    """A signal post; half of them have an arm over the road that carries a second signal."""
    lit, tall = int(rng.integers(3)), rng.random() < 0.5
    lamps = np.float32([(0.95, 0.1, 0.08), (1.0, 0.75, 0.1), (0.1, 0.9, 0.5)])
    signals = [(0.0, 2.4), (reach, 4.6)] if tall else [(0.0, 2.4)]
    shapes = []
    for x, y in signals:
        shapes.append((rectangle((x - 0.19, x + 0.19), (y, y + 1.02)), Tone.DARK))
        shapes += [(disc((x, y + 0.85 - 0.33 * i), 0.13), lamps[i] * (1.4 if i == lit else 0.18)) for i in range(3)]
    posts = [pole(5.6 if tall else 3.4, width=0.17)]
    posts += [figure([(limb((0, 5.4), (reach, 5.4), (0.16, 0.12)), Tone.STEEL)], Label.POLE)] if tall else []
    return join([*posts, figure(shapes, Label.TRAFFIC_LIGHT)])


def traffic_sign(rng: np.random.Generator) -> Mesh:
    """A post with one or two signs."""
    triangle = np.array([(-0.45, -0.33), (0.45, -0.33), (0.0, 0.45)])
    diamond = np.array([(-0.45, 0), (0, -0.45), (0.45, 0), (0, 0.45)])
    box, board = rectangle((-0.36, 0.36), (-0.36, 0.36)), rectangle((-0.9, 0.9), (-0.3, 0.5))
    circle, blue = disc((0, 0), 0.36), (Tone.BLUE, Tone.WHITE)
    plates = [(circle, 0.7, Tone.RED, Tone.WHITE), (circle, 0.4, *blue), (triangle, 0.66, Tone.RED, Tone.WHITE),
              (box, 0.5, *blue), (board, 0.6, *blue), (board, 0.6, Tone.YELLOW, Tone.DARK),
              (diamond, 0.68, Tone.WHITE, Tone.YELLOW)]  # fmt: skip
    shapes = []
    for y in (2.5, 1.7)[: 1 + int(rng.random() < 0.35)]:
        shape, inner, outside, inside = plates[rng.integers(len(plates))]
        shapes += [(scale * shape + np.array((0, y)), color) for scale, color in ((1, outside), (inner, inside))]
    return join([pole(rng.uniform(2.7, 3.2), width=0.09), figure(shapes, Label.TRAFFIC_SIGN)])


def wall(color: np.ndarray, *, length: float, height: float) -> Mesh:
    """A piece of a wall along the street, from z = 0, with joints and a coping."""
    lines = [(0, 1, at, at + 0.05, color * 0.8) for at in (0.25, 0.5, 0.75)]
    lines.append((0, 1, 0.92, 1, color * 1.15))
    return block(Label.WALL, color, along=(0, length), y=(0, height), width=0.3, decals=dict(left=lines, right=lines))


def fence(color: np.ndarray, *, length: float, height: float) -> Mesh:
    """A piece of a fence of pickets along the street, from z = 0; what is seen through it is labelled as fence."""
    bars = [(at, at + 0.05, 0, 1.03, color) for at in np.arange(0, 0.96, 0.1)]
    bars.append((0, 1, 0.85, 0.92, color))
    decals, behind = dict(left=bars, right=bars), (0.2, 0.22, 0.18)
    return block(Label.FENCE, behind, along=(0, length), y=(0, height), width=0.05, decals=decals)


def tree(rng: np.random.Generator, *, clumps: int) -> Mesh:
    """A broad-leaved tree or a poplar of so many clumps of leaves."""
    height, slim = rng.uniform(5.0, 11.0), rng.random() < 0.2
    spread = rng.uniform(0.8, 1.3) if slim else height * rng.uniform(0.24, 0.36)
    middle = (height + rng.uniform(1.6, 2.6)) / 2
    place = rng.normal(size=(clumps, 3))
    place *= rng.uniform(0.1, 1, (clumps, 1)) ** 0.4 / np.linalg.norm(place, axis=1, keepdims=True)
    place = place[np.argsort(-place[:, 2])]
    trunk = figure([(limb((0, 0), (0, middle), (0.34, 0.2)), (0.26, 0.2, 0.16))], Label.VEGETATION)
    radii = rng.uniform(0.7, 1.4, clumps) * min(spread, height - middle) / clumps**0.4
    centers = place * (spread, height - middle, 0.5 * spread) + (0, middle, 0)
    shade = np.clip(0.9 + 0.3 * place[:, 1] + rng.normal(0, 0.13, clumps), 0.25, 1.7)  # brighter at the top
    colors = one_of(rng, LEAVES) * shade[:, None]
    return join([trunk, leaves(rng, centers, radii, colors=colors, label=Label.VEGETATION)])


def house(rng: np.random.Generator, *, length: float, storeys: int, lit: float, windows: bool) -> Mesh:
    """A house 12 m deep, from z = 0, with a flat or a pitched roof; a share `lit` of its windows is lit."""
    storey, paint = rng.uniform(2.8, 3.8), one_of(rng, PLASTER)
    height = storeys * storey + 0.6
    glass, shop, bay = (rng.uniform(0.35, 0.75), rng.uniform(0.4, 0.65)), rng.random() < 0.5, rng.uniform(1.9, 3.6)
    decals = {}
    for name, span in (("left", length), ("right", length), ("rear", 12.0)) if windows else ():
        bays = max(int(span / bay), 1)
        for level in range(storeys):
            wide, tall = (0.86, 0.7) if shop and level == 0 else glass
            low, high = ((level + 0.5 + sign * tall / 2) * storey / height for sign in (-1, 1))
            panes = decals.setdefault(name, [])
            panes.append((0, 1, (level + 0.97) * storey / height, (level + 1.03) * storey / height, paint * 1.15))
            for at in (np.arange(bays) + 0.5) / bays:
                pane = Tone.LIT if rng.random() < lit else np.float32(Tone.GLASS) * rng.uniform(0.8, 2.6)
                half = wide / bays / 2
                panes.append((at - half - 0.008, at + half + 0.008, low - 0.012, high + 0.012, paint * 1.2))
                panes.append((at - half, at + half, low, high, pane))
    walls = block(Label.BUILDING, paint, along=(0, length), y=(0, height), width=12.0, decals=decals)
    if rng.random() > 0.45:
        return walls
    roof = block(Label.BUILDING, one_of(rng, ROOFS), along=(0, length), y=(height, height + 2.5), width=(12.4, 5.0))
    return join([walls, roof])
