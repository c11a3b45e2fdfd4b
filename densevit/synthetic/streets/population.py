"""Who and what is in a scene: draws the things on the road, on the sidewalks and in the gaps between houses."""

from dataclasses import dataclass, field

import numpy as np

from densevit.synthetic.streets import furniture, people, vehicles
from densevit.synthetic.streets.geometry import Light, Mesh
from densevit.synthetic.streets.street import LANE, Street

RARE = {"truck": 0.32, "bus": 0.32, "tram": 0.3, "motorcycle": 0.42, "bicycle": 0.5, "rider": 0.5, "wall": 0.42,
        "fence": 0.45}  # fmt: skip


@dataclass
class Things:
    """Meshes in front of the houses, and those behind the front lines, which the houses may hide."""

    front: list[Mesh] = field(default_factory=list)
    back: list[Mesh] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, mesh: Mesh, margin: float = 0.4) -> bool:
        """Add a mesh unless it stands in another one's place."""
        x0, x1, z0, z1 = mesh.bounds
        for a0, a1, b0, b1 in self.taken:
            if x0 < a1 + margin and x1 > a0 - margin and z0 < b1 + margin and z1 > b0 - margin:
                return False
        self.taken.append((x0, x1, z0, z1))
        self.front.append(mesh)
        return True


def draw_rare(rng: np.random.Generator) -> set[str]:
    """Which of the seldom seen things this scene has."""
    return {name for name, share in RARE.items() if rng.random() < share}


def populate(rng: np.random.Generator, *, street: Street, light: Light, rare: set[str], focal: float) -> Things:
    """All things of one scene; `focal` in pixels says how fine trees need to be."""
    things = Things()
    _large_traffic(things, rng, street=street, light=light, rare=rare)
    _two_wheelers(things, rng, street=street, rare=rare)
    _traffic(things, rng, street=street, light=light)
    _parked(things, rng, street=street)
    _posts(things, rng, street=street, light=light)
    _boundaries(things, rng, street=street, rare=rare)
    _plants(things, rng, street=street, light=light, leaves=1.2 * focal)
    _walkers(things, rng, street=street)
    return things


def _lanes(street: Street) -> tuple[list[float], list[float]]:
    """Middles of the lanes that come towards us and of those that drive our way."""
    middle = street.lanes[0]
    width = LANE
    left_end = street.road[0] + 2.2 * street.parking[0]
    right_end = street.road[1] - 2.2 * street.parking[1]
    oncoming = np.arange(middle - width / 2, left_end + 0.8, -width)
    ours = np.arange(middle + width / 2, right_end - 0.8, width)
    return [float(x) for x in oncoming], [float(x) for x in ours]


def _large_traffic(things: Things, rng: np.random.Generator, *, street: Street, light: Light, rare: set[str]) -> None:
    oncoming, ours = _lanes(street)
    lamps = 0.6 + 0.4 * light.lamps
    if "tram" in rare:
        yaw = np.pi if rng.random() < 0.7 else 0.0
        for car in vehicles.tram(rng, x=street.rails, z=rng.uniform(11, 26), yaw=yaw, lamps=lamps):
            things.place(car, margin=0.0)
    for name, build in (("bus", vehicles.bus), ("truck", vehicles.truck)):
        for _ in range(6 if name in rare else 0):
            ahead = rng.random() < 0.4
            x = rng.choice(ours if ahead else oncoming)
            z = rng.uniform(12, 34)
            if things.place(build(rng, x=x, z=z, yaw=0.0 if ahead else np.pi, lamps=lamps)):
                break


def _two_wheelers(things: Things, rng: np.random.Generator, *, street: Street, rare: set[str]) -> None:
    oncoming, ours = _lanes(street)
    edge = ours[-1] + 0.9
    if "rider" in rare:
        for _ in range(int(rng.integers(1, 4))):
            across = rng.random() < 0.3
            yaw = rng.choice([0.0, np.pi]) + rng.normal(0, 0.2) if across else np.pi / 2
            x = rng.uniform(street.road[0], street.road[1]) if across else rng.choice([edge, edge, oncoming[-1] - 0.9])
            kind = "motorcycle" if rng.random() < (0.5 if "motorcycle" in rare else 0.1) else "bicycle"
            things.place(people.ridden(rng, kind, x=x + rng.normal(0, 0.2), z=rng.uniform(5, 20), yaw=yaw))
    for name, build in (("bicycle", people.bicycle), ("motorcycle", people.motorcycle)):
        for _ in range(int(rng.integers(2, 6)) if name in rare else 0):
            side = int(rng.integers(2))
            x = street.road[side] + (-1 if side == 0 else 1) * rng.uniform(0.4, 1.3)
            yaw = rng.choice([0.0, np.pi, np.pi / 2], p=[0.4, 0.4, 0.2]) + rng.normal(0, 0.25)
            things.place(build(rng, x=x, z=rng.uniform(5.5, 20), yaw=yaw), margin=0.1)


def _traffic(things: Things, rng: np.random.Generator, *, street: Street, light: Light) -> None:
    oncoming, ours = _lanes(street)
    lamps = 0.6 + 0.4 * light.lamps
    for x, yaw in [(x, np.pi) for x in oncoming] + [(x, 0.0) for x in ours]:
        z = rng.uniform(8, 45)
        while z < 75:
            things.place(vehicles.random_car(rng, x=x + rng.normal(0, 0.2), z=z, yaw=yaw, lamps=lamps))
            z += rng.uniform(8, 40)
    if street.crossing[0] < 45 and rng.random() < 0.6:
        z = (street.crossing[0] + street.crossing[1]) / 2
        x = rng.uniform(street.road[0] - 4, street.road[1] + 4)
        things.place(vehicles.random_car(rng, x=x, z=z, yaw=float(rng.choice([-1, 1])) * np.pi / 2, lamps=lamps))


def _on_crossing(street: Street, z: float, *, margin: float) -> bool:
    return street.crossing[0] - margin < z < street.crossing[1] + margin


def _parked(things: Things, rng: np.random.Generator, *, street: Street) -> None:
    for side, allowed in enumerate(street.parking):
        if not allowed:
            continue
        x = street.road[side] + (1.15 if side == 0 else -1.15)
        full = rng.uniform(0.35, 0.95)
        z = rng.uniform(5.2, 9)
        while z < 80:
            near_zebra = abs(z - street.zebra - 1.5) < 5
            if rng.random() < full and not _on_crossing(street, z, margin=5) and not near_zebra:
                yaw = np.pi if side == 0 and rng.random() < 0.8 else 0.0
                things.place(vehicles.random_car(rng, x=x + rng.normal(0, 0.08), z=z, yaw=yaw, lamps=0.4), margin=0.1)
            z += rng.uniform(5.2, 6.6)


def _posts(things: Things, rng: np.random.Generator, *, street: Street, light: Light) -> None:
    for side in (0, 1):
        inward = 1 if side == 0 else -1
        x = street.road[side] - inward * rng.uniform(0.35, 0.7)
        z = rng.uniform(6, 16)
        step = rng.uniform(14, 28)
        while z < 110:
            if not _on_crossing(street, z, margin=0.5):
                lamp = furniture.street_lamp(rng, reach=inward * rng.uniform(1.2, 2.2), glow=light.lamps * 2)
                things.front.append(lamp.moved(x, z))
            z += step
        for _ in range(int(rng.poisson(2.2))):
            things.front.append(furniture.traffic_sign(rng).moved(x + rng.normal(0, 0.1), rng.uniform(6, 34)))
        stop = street.zebra if np.isfinite(street.zebra) else rng.uniform(12, 40)
        if rng.random() < (0.85 if np.isfinite(street.zebra) else 0.3):
            light_post = furniture.traffic_light(rng, reach=inward * rng.uniform(2.0, 3.5))
            things.front.append(light_post.moved(x, max(stop - 0.4, 5.0)))
        if rng.random() < 0.35:  # bollards
            for z in np.arange(rng.uniform(4, 8), 24, 1.8):
                bollard = furniture.pole(0.9, width=0.12, color=np.float32((0.3, 0.3, 0.3)))
                things.place(bollard.moved(x, z), margin=0.05)


def _boundaries(things: Things, rng: np.random.Generator, *, street: Street, rare: set[str]) -> None:
    """Walls and fences close the gaps; where there is none to close, they run along a sidewalk or the verge."""
    for name in sorted({"wall", "fence"} & rare):
        side = int(rng.integers(2))
        outward = -1 if side == 0 else 1
        color = (np.float32(rng.choice([0.35, 0.55, 0.7])) + rng.uniform(-0.08, 0.08, 3)).astype(np.float32)
        if name == "fence" and rng.random() < 0.4:
            color = np.float32((0.16, 0.26, 0.18))
        style, height = int(rng.integers(3)), rng.uniform(1.0, 1.9)
        lines = [(street.rows[side].x - outward * 0.25, a, b) for a, b in street.gaps(side)]
        lines = [(x, a, b) for x, a, b in lines if b < 70 and a != street.crossing[0]]
        if sum(b - max(a, 4) for _, a, b in lines) < 10:  # too little to be seen
            at = street.road[side] + outward * (street.verge[side] + 0.3)
            start = rng.uniform(5, 14)
            lines.append((at, start, start + rng.uniform(10, 30)))
            height = 1.0 if name == "fence" else 0.9
        for x, a, b in lines:
            for z in np.arange(max(a, 3.0), b, 2.5):
                if not _on_crossing(street, z, margin=1.5):
                    piece = dict(x=x, length=min(2.5, b - z), height=height, color=color)
                    mesh = furniture.wall(rng, **piece) if name == "wall" else furniture.fence(style, **piece)
                    things.front.append(mesh.moved(0, z))


def _plants(things: Things, rng: np.random.Generator, *, street: Street, light: Light, leaves: float) -> None:
    sun_x = float(light.sun[0])
    for side, row in enumerate(street.rows):
        outward = -1 if side == 0 else 1
        for a, b in street.gaps(side):
            if a == street.crossing[0] or b < 3:
                continue
            for _ in range(int((b - a) / rng.uniform(3, 7))):
                z, deep = rng.uniform(max(a, 6), max(b, 7)), rng.uniform(2.5, 10)
                detail = int(np.clip(leaves / z, 16, 140))
                mesh = furniture.tree(rng, sun_x=sun_x, detail=detail).moved(row.x + outward * deep, z)
                things.back.append(mesh)
            if rng.random() < 0.5 and a > 4:
                hedge = furniture.hedge(
                    rng, length=b - a, height=rng.uniform(0.8, 1.8), detail=max(int(4 * (b - a)), 1)
                )
                things.back.append(hedge.moved(row.x + outward * 0.8, a))
        if rng.random() < (0.85 if street.verge[side] else 0.35):
            x = street.road[side] + outward * max(street.verge[side] / 2, 0.9)
            z, step = rng.uniform(7, 14), rng.uniform(6, 12)
            while z < 100:
                if not _on_crossing(street, z, margin=2):
                    detail = int(np.clip(leaves / z, 16, 140))
                    things.front.append(furniture.tree(rng, sun_x=sun_x, detail=detail).moved(x, z))
                z += step * rng.uniform(0.8, 1.3)


def _walkers(things: Things, rng: np.random.Generator, *, street: Street) -> None:
    for side, row in enumerate(street.rows):
        edge = street.road[side] + (-1 if side == 0 else 1) * street.verge[side]
        low, high = sorted((row.x, edge))
        for _ in range(int(rng.poisson(3.5))):
            x, z = rng.uniform(low + 0.5, high - 0.5), rng.uniform(5, 45) ** rng.uniform(0.9, 1.0)
            things.place(people.pedestrian(rng, x=x, z=z), margin=0.05)
            if rng.random() < 0.35:
                things.place(people.pedestrian(rng, x=x + 0.65, z=z + 0.1), margin=0.0)
    if np.isfinite(street.zebra) and street.zebra < 35:
        for _ in range(int(rng.integers(0, 5))):
            x, z = rng.uniform(*street.road), street.zebra + rng.uniform(0.3, 2.9)
            things.place(people.pedestrian(rng, x=x, z=z), margin=0.1)
