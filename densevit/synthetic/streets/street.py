"""One street, drawn at random: its plan, its light, and who and what stands on it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from densevit.synthetic.streets import things, vehicles
from densevit.synthetic.streets.meshes import Camera, Light, Mesh

LENGTH = 150.0  # metres of street that are drawn
LANE, PARKING = 3.3, 2.2  # metres
RARE = {"truck": 0.35, "bus": 0.35, "tram": 0.32, "motorcycle": 0.45, "bicycle": 0.5, "rider": 0.5, "wall": 0.5,
        "fence": 0.5}  # the share of scenes that has each  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One side of a street, sign -1 the left: x of the kerb and of the house fronts, and what lies between."""

    sign: int
    kerb: float
    verge: float  # metres of green behind the kerb
    front: float
    parking: bool
    plots: list[tuple[float, float, bool]]  # from z, to z, built on


@dataclass(frozen=True)
class Street:
    """The ground plan."""

    sides: tuple[Side, Side]
    lanes: list[tuple[float, float]]  # x of the middle and yaw: 0 leads away from us, pi towards us
    lines: list[float]  # x of the lines between lanes, that between the two directions first
    zebra: float  # z of a zebra crossing, infinite for none
    rails: float  # x of the middle of a tram track, nan for none
    grass: bool  # what is not built on is green, not paved


def sample_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """A camera behind the windscreen, looking along the street with some yaw and pitch; the street may bend."""
    height, width = size
    return Camera(
        height=rng.uniform(1.3, 1.9),
        focal=rng.uniform(0.72, 1.0) * float(np.sqrt(2 * height * width)),
        center=(width * rng.uniform(0.4, 0.6), height * rng.uniform(0.38, 0.5)),
        size=size,
        bend=float(rng.choice([0.0, rng.uniform(-0.003, 0.003)])),
    )


def sample_light(rng: np.random.Generator) -> Light:
    """Sunshine (half of the scenes), an overcast day (a third) or dusk."""
    kind = rng.choice(3, p=[0.5, 0.33, 0.17])
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.3) if kind == 2 else rng.uniform(0.45, 1.1)
    flat = np.cos(elevation)
    ambient, sun_color, haze, zenith, lamps = (
        ((0.50, 0.54, 0.62), (0.72, 0.66, 0.55), (0.78, 0.84, 0.92), (0.30, 0.50, 0.82), 0.05),
        ((0.80, 0.82, 0.85), (0.1, 0.1, 0.1), (0.80, 0.82, 0.85), (0.66, 0.70, 0.76), 0.08),
        ((0.44, 0.42, 0.49), (0.36, 0.2, 0.1), (0.72, 0.52, 0.44), (0.24, 0.27, 0.44), 0.55),
    )[kind]
    tint = rng.uniform(0.93, 1.07, 3)
    return Light(
        sun=np.float32([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)]),
        sun_color=np.float32(sun_color) * np.float32(rng.uniform(0.8, 1.15)),
        ambient=np.float32(ambient * tint) * np.float32(rng.uniform(0.85, 1.1)),
        haze_color=np.float32(haze * tint),
        haze=float(rng.choice([0.003, 0.006, 0.015], p=[0.5, 0.35, 0.15])),
        zenith=np.float32(zenith * tint),
        clouds=float(rng.uniform(0, 1)),
        lamps=lamps,
    )


def sample_street(rng: np.random.Generator, *, rails: bool) -> Street:
    """A street with two to four lanes seen from its right-hand half, with a tram track where asked."""
    middle = -LANE / 2 + rng.uniform(-0.35, 0.35)
    counts = (2 if rails else int(rng.integers(1, 3)), 1 + int(rng.random() < 0.3))
    built, sides = rng.choice([0.9, 0.65, 0.45]), []
    for sign, count in zip((-1, 1), counts, strict=True):
        parking = bool(rng.random() < 0.5)
        kerb = middle + sign * (LANE * count + PARKING * parking)
        verge = float(rng.uniform(1.2, 3.0)) if rng.random() < 0.4 else 0.0
        front = kerb + sign * (verge + rng.uniform(2.5, 5.5))
        sides.append(Side(sign, kerb, verge, front, parking, _plots(rng, built)))
    lanes = [(middle - LANE * (i + 0.5), np.pi) for i in range(counts[0])]
    lanes += [(middle + LANE * (i + 0.5), 0.0) for i in range(counts[1])]
    lines = [middle, *([middle - LANE] * (counts[0] > 1)), *([middle + LANE] * (counts[1] > 1))]
    zebra = float(rng.choice([np.inf, rng.uniform(9, 30)]))
    return Street(tuple(sides), lanes, lines, zebra, lanes[0][0] if rails else float("nan"), bool(rng.random() < 0.8))


def _plots(rng: np.random.Generator, built: float) -> list[tuple[float, float, bool]]:
    plots = [(-6.0, rng.uniform(6, 16), True)]
    while plots[-1][1] < LENGTH:
        start, house = plots[-1][1], not plots[-1][2] or rng.random() < built
        plots.append((start, start + rng.uniform(8, 22), bool(house)))
    return plots


@dataclass
class Scene:
    """Meshes at the house fronts and beyond, and those before them; `place` keeps the latter apart."""

    back: list[Mesh] = field(default_factory=list)
    front: list[Mesh] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, mesh: Mesh, margin: float = 0.3) -> bool:
        """Add a mesh unless it stands in another one's place."""
        x0, x1, z0, z1 = mesh.bounds
        if any(x0 < a1 + margin and x1 > a0 - margin and z0 < b1 + margin and z1 > b0 - margin
               for a0, a1, b0, b1 in self.taken):  # fmt: skip
            return False
        self.taken.append(mesh.bounds)
        self.front.append(mesh)
        return True


def populate(rng: np.random.Generator, *, street: Street, light: Light, rare: set[str], focal: float) -> Scene:
    """All that stands in one scene; `focal` in pixels says how fine trees need to be."""
    scene = Scene()
    _large_traffic(scene, rng, street=street, rare=rare, lamps=0.6 + 0.4 * light.lamps)
    _two_wheelers(scene, rng, street=street, rare=rare)
    _cars(scene, rng, street=street, lamps=0.6 + 0.4 * light.lamps)

    def tree(z: float) -> Mesh:
        return things.tree(rng, clumps=int(np.clip(1.2 * focal / z, 16, 140)))

    for side in street.sides:
        _buildings(scene, rng, side, light=light, tree=tree)
        _posts(scene, rng, side, street=street, light=light)
        _walkers(scene, rng, side, street=street)
        if rng.random() < (0.85 if side.verge else 0.35):
            for z in np.arange(rng.uniform(7, 14), 100, rng.uniform(6, 12)):
                scene.front.append(tree(z).placed(side.kerb + side.sign * max(side.verge / 2, 0.9), z))
    for name, build in (("wall", things.wall), ("fence", things.fence)):
        if name in rare:
            _barriers(scene, rng, street.sides[int(rng.integers(2))], build=build)
    scene.back += [tree(LENGTH).placed(x, LENGTH) for x in rng.uniform(-90, 90, 40)]
    return scene


def _large_traffic(scene: Scene, rng: np.random.Generator, *, street: Street, rare: set[str], lamps: float) -> None:
    if "tram" in rare:
        start = rng.uniform(11, 26)
        for i, car in enumerate(vehicles.tram(rng, lamps=lamps)):
            scene.place(car.placed(street.rails, start + 9.3 * i, yaw=np.pi), margin=0.0)
    for name, build in (("bus", vehicles.bus), ("truck", vehicles.truck)):
        for _ in range(6 if name in rare else 0):
            x, yaw = street.lanes[int(rng.integers(len(street.lanes)))]
            if scene.place(build(rng, lamps=lamps).placed(x, rng.uniform(12, 34), yaw=yaw)):
                break


def _two_wheelers(scene: Scene, rng: np.random.Generator, *, street: Street, rare: set[str]) -> None:
    builders = {"bicycle": things.bicycle, "motorcycle": things.motorcycle}
    for _ in range(int(rng.integers(1, 4)) if "rider" in rare else 0):
        kind = "motorcycle" if "motorcycle" in rare and rng.random() < 0.5 else "bicycle"
        yaw = rng.choice([0.0, np.pi]) + rng.uniform(-1.2, 1.2)
        x = rng.uniform(street.sides[0].kerb + 0.5, street.sides[1].kerb - 0.5)
        scene.place(things.ridden(rng, builders[kind]).placed(x, rng.uniform(5, 20), yaw=yaw))
    for name, build in builders.items():
        for _ in range(int(rng.integers(2, 6)) if name in rare else 0):
            side = street.sides[int(rng.integers(2))]
            x, yaw = side.kerb + side.sign * rng.uniform(0.4, 1.3), rng.choice([0.0, np.pi]) + rng.normal(0, 0.3)
            scene.place(build(rng).placed(x, rng.uniform(5.5, 20), yaw=yaw), margin=0.1)


def _cars(scene: Scene, rng: np.random.Generator, *, street: Street, lamps: float) -> None:
    """Cars in the lanes, and parked at the kerbs."""
    for x, yaw in street.lanes:
        for z in np.cumsum(rng.uniform(8, 40, 5)):
            scene.place(vehicles.car(rng, lamps=lamps).placed(x + rng.normal(0, 0.2), z, yaw=yaw))
    for side in street.sides:
        full = rng.uniform(0.35, 0.95)
        for z in np.arange(rng.uniform(5.2, 9), 80, 5.9) if side.parking else ():
            if rng.random() < full and abs(z - street.zebra - 1.5) > 5:
                yaw = np.pi if side.sign < 0 and rng.random() < 0.8 else 0.0
                scene.place(vehicles.car(rng, lamps=0.4).placed(side.kerb - side.sign * 1.15, z, yaw=yaw), margin=0.1)


def _buildings(scene: Scene, rng: np.random.Generator, side: Side, *, light: Light, tree: Callable) -> None:
    """Houses, and trees where there are none."""
    tall = rng.choice([2.5, 4.0, 6.0])
    for start, end, built in side.plots:
        middle = side.front + side.sign * 6
        if built:
            storeys = max(int(rng.poisson(tall)), 2)
            house = things.house(rng, length=end - start, storeys=storeys, lit=light.lamps, windows=start < 80)
            scene.back.append(house.placed(middle, start))
            continue
        for z in rng.uniform(max(start, 6), max(end, 7), int((end - start) / rng.uniform(3, 7))):
            scene.back.append(tree(z).placed(middle + rng.uniform(-4, 4), z))


def _posts(scene: Scene, rng: np.random.Generator, side: Side, *, street: Street, light: Light) -> None:
    x = side.kerb + side.sign * rng.uniform(0.35, 0.7)
    for z in np.arange(rng.uniform(6, 16), 110, rng.uniform(14, 28)):
        lamp = things.street_lamp(rng, reach=-side.sign * rng.uniform(1.2, 2.2), glow=light.lamps)
        scene.front.append(lamp.placed(x, z))
    for _ in range(int(rng.poisson(2.2))):
        scene.front.append(things.traffic_sign(rng).placed(x + rng.normal(0, 0.1), rng.uniform(6, 34)))
    crossing = np.isfinite(street.zebra)
    if rng.random() < (0.85 if crossing else 0.3):
        z = max(street.zebra - 0.4, 5.0) if crossing else rng.uniform(12, 40)
        scene.front.append(things.traffic_light(rng, reach=-side.sign * rng.uniform(2.0, 3.5)).placed(x, z))


def _walkers(scene: Scene, rng: np.random.Generator, side: Side, *, street: Street) -> None:
    low, high = sorted((side.front - side.sign * 0.5, side.kerb + side.sign * (side.verge + 0.5)))
    for _ in range(int(rng.poisson(4.5))):
        scene.place(things.pedestrian(rng).placed(rng.uniform(low, high), rng.uniform(5, 40)), margin=0.05)
    for _ in range(int(rng.integers(3)) if street.zebra < 35 else 0):
        x, z = rng.uniform(*sorted((side.kerb, street.lines[0]))), street.zebra + rng.uniform(0.3, 2.9)
        scene.place(things.pedestrian(rng).placed(x, z), margin=0.1)


def _barriers(scene: Scene, rng: np.random.Generator, side: Side, *, build: Callable) -> None:
    """A wall or fence closes the free plots, or runs along the sidewalk where they are too few to be seen."""
    color = np.float32(rng.choice([0.35, 0.55, 0.7]) + rng.uniform(-0.08, 0.08, 3))
    front, height = side.front - side.sign * 0.25, rng.uniform(1.0, 1.9)
    lines = [(front, max(a, 3.0), min(b, 70.0)) for a, b, built in side.plots if not built and a < 60]
    if sum(b - a for _, a, b in lines if a < 30) < 8:
        start, height = rng.uniform(5, 12), 1.0
        lines.append((side.kerb + side.sign * (side.verge + 0.3), start, start + rng.uniform(12, 30)))
    for x, start, end in lines:
        for z in np.arange(start, end, 2.5):
            scene.front.append(build(color, length=min(2.5, end - z), height=height).placed(x, z))
