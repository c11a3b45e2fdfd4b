"""Where things are in one street: lanes, kerbs, houses and gaps, the camera and the light, drawn at random."""

from dataclasses import dataclass, field

import numpy as np

from densevit.synthetic.streets.geometry import Camera, Light

LENGTH = 150.0  # metres of street that are drawn
KERB = 0.12  # metres that a sidewalk lies above the road
LANE = 3.3
PARKING = 2.2

PLASTER = np.array(
    [(200, 188, 165), (176, 160, 140), (186, 186, 182), (150, 140, 130), (165, 110, 88), (140, 84, 66), (205, 196, 150),
     (160, 170, 178), (214, 208, 200), (120, 118, 116), (190, 150, 120), (170, 180, 160)]
) / 255.0  # fmt: skip
ROOFS = np.array([(120, 62, 48), (92, 70, 62), (70, 72, 78), (104, 84, 70)]) / 255.0


@dataclass(frozen=True)
class Houses:
    """Arrays of one value a house; a gap between houses is a house of height 0."""

    heights: np.ndarray
    roofs: np.ndarray
    colors: np.ndarray
    roof_colors: np.ndarray
    bays: np.ndarray
    floors: np.ndarray
    glass: np.ndarray  # (n, 2): share of bay and floor that a window fills
    balconies: np.ndarray
    shops: np.ndarray


@dataclass(frozen=True)
class Row:
    """One side of the street: the front line at x, the ends of its houses along z and their index in `Houses`."""

    x: float
    edges: np.ndarray  # (n + 1,)
    first: int

    def house_at(self, z: np.ndarray) -> np.ndarray:
        n = len(self.edges) - 1
        return self.first + np.clip(np.searchsorted(self.edges, z, side="right") - 1, 0, n - 1)


@dataclass(frozen=True)
class Street:
    """The ground plan; x positions are signed, left first."""

    road: tuple[float, float]
    lanes: tuple[float, ...]  # x of the lines between lanes, the middle of the street first
    parking: tuple[bool, bool]
    verge: tuple[float, float]  # width of the green strip behind each kerb, 0 for none
    rows: tuple[Row, Row]
    houses: Houses
    crossing: tuple[float, float]  # z range of a crossing street, empty beyond the drawn length
    zebra: float  # z of a zebra crossing, infinite for none
    rails: float  # x of the middle of a tram track, nan for none
    grass: bool = field(default=True)  # gaps are green, not paved

    def gaps(self, side: int) -> list[tuple[float, float]]:
        """The z ranges without a house on one side (0 left, 1 right)."""
        row = self.rows[side]
        heights = self.houses.heights[row.first : row.first + len(row.edges) - 1]
        return [(row.edges[i], row.edges[i + 1]) for i in np.flatnonzero(heights == 0)]


def sample_camera(rng: np.random.Generator, size: tuple[int, int]) -> Camera:
    """A camera behind the windscreen, looking along the street with some yaw and pitch; the street may bend."""
    height, width = size
    return Camera(
        height=rng.uniform(1.3, 1.9),
        focal=rng.uniform(0.72, 1.0) * float(np.sqrt(2 * height * width)),
        center=(width * rng.uniform(0.4, 0.6), height * rng.uniform(0.38, 0.5)),
        size=size,
        bend=float(rng.choice([0.0, rng.uniform(-0.0035, 0.0035)])),
    )


def _edges(rng: np.random.Generator, crossing: tuple[float, float], *, dense: float) -> tuple[np.ndarray, np.ndarray]:
    """Ends of houses along one side (n + 1,), and which of them are gaps (n,)."""
    edges, gap = [-6.0], []
    while edges[-1] < LENGTH:
        free = bool(gap) and not gap[-1] and rng.random() > dense
        edges.append(edges[-1] + (rng.uniform(7, 20) if free else rng.uniform(8, 22)))
        gap.append(free)
    ends, free = np.array(edges), np.array(gap)
    if crossing[0] < LENGTH:  # the houses make room for the side street
        before, after = ends[:-1] < crossing[0], ends[1:] > crossing[1]
        ends = np.concatenate([ends[:-1][before], crossing, ends[1:][after]])
        free = np.concatenate([free[before], [True], free[after]])
    return ends, free


def _houses(rng: np.random.Generator, gaps: np.ndarray, *, tall: float) -> Houses:
    n = len(gaps)
    floors = rng.uniform(2.8, 3.8, n)
    storeys = np.maximum(rng.poisson(tall, n), 2)
    return Houses(
        heights=np.where(gaps, 0.0, storeys * floors + rng.uniform(0.3, 1.5, n)).astype(np.float32),
        roofs=np.where(rng.random(n) < 0.45, rng.uniform(1.2, 3.0, n), 0.25).astype(np.float32),
        colors=(PLASTER[rng.integers(len(PLASTER), size=n)] * rng.uniform(0.75, 1.1, (n, 1))).astype(np.float32),
        roof_colors=ROOFS[rng.integers(len(ROOFS), size=n)].astype(np.float32),
        bays=rng.uniform(1.7, 4.2, n).astype(np.float32),
        floors=floors.astype(np.float32),
        glass=np.stack([rng.uniform(0.35, 0.8, n), rng.uniform(0.4, 0.65, n)], axis=1).astype(np.float32),
        balconies=rng.random(n) < 0.25,
        shops=rng.random(n) < 0.5,
    )


def sample_street(rng: np.random.Generator, rails: bool) -> Street:
    """A street with two to four lanes seen from its right-hand half, with a tram track where asked."""
    parking = (bool(rng.random() < 0.6), bool(rng.random() < 0.45))
    inner = int(rng.random() < 0.3)  # one more lane between us and the right kerb
    left_lanes = 2 if rails else int(rng.integers(1, 3))
    offset = rng.uniform(-0.35, 0.35)
    left = -LANE * (0.5 + left_lanes) - PARKING * parking[0] + offset
    right = LANE * (0.5 + inner) + PARKING * parking[1] + offset
    verge = tuple(float(rng.uniform(1.2, 3.0)) if rng.random() < 0.4 else 0.0 for _ in range(2))
    walk = rng.uniform(2.5, 5.5, 2)
    start = rng.uniform(16, 60) if rng.random() < 0.4 else np.inf
    crossing = (start, start + rng.uniform(7, 11))
    dense = rng.choice([0.9, 0.65, 0.45])
    (left_ends, left_gaps), (right_ends, right_gaps) = (_edges(rng, crossing, dense=dense) for _ in range(2))
    rows = (
        Row(left - verge[0] - walk[0], left_ends, 0),
        Row(right + verge[1] + walk[1], right_ends, len(left_gaps)),
    )
    middle = -LANE / 2 + offset
    lines = (middle, *([middle - LANE] if left_lanes == 2 else []), *([middle + LANE] if inner else []))
    return Street(
        road=(left, right),
        lanes=tuple(float(x) for x in lines),
        parking=parking,
        verge=verge,
        rows=rows,
        houses=_houses(rng, np.concatenate([left_gaps, right_gaps]), tall=rng.choice([2.5, 4.0, 6.0])),
        crossing=crossing,
        zebra=float(crossing[0] - 4.5 if np.isfinite(start) else rng.choice([np.inf, rng.uniform(9, 30)])),
        rails=middle - LANE * 0.5 if rails else float("nan"),
        grass=bool(rng.random() < 0.8),
    )


def sample_light(rng: np.random.Generator) -> Light:
    """Sunshine (half of the scenes), an overcast day (a third) or dusk."""
    kind = rng.choice(["sun", "overcast", "dusk"], p=[0.5, 0.33, 0.17])
    azimuth, elevation = rng.uniform(0, 2 * np.pi), rng.uniform(0.45, 1.1)
    if kind == "dusk":
        elevation = rng.uniform(0.15, 0.3)
    flat = np.cos(elevation)
    sun = np.array([flat * np.sin(azimuth), np.sin(elevation), flat * np.cos(azimuth)], dtype=np.float32)
    ambient, sun_color, haze, zenith, lamps = {
        "sun": ((0.50, 0.54, 0.62), (0.72, 0.66, 0.55), (0.78, 0.84, 0.92), (0.30, 0.50, 0.82), 0.05),
        "overcast": ((0.80, 0.82, 0.85), (0.1, 0.1, 0.1), (0.80, 0.82, 0.85), (0.66, 0.70, 0.76), 0.08),
        "dusk": ((0.44, 0.42, 0.49), (0.36, 0.2, 0.1), (0.72, 0.52, 0.44), (0.24, 0.27, 0.44), 0.55),
    }[str(kind)]
    tint = rng.uniform(0.93, 1.07, 3)
    return Light(
        sun=sun,
        sun_color=np.float32(sun_color) * np.float32(rng.uniform(0.8, 1.15)),
        ambient=np.float32(ambient * tint) * np.float32(rng.uniform(0.85, 1.1)),
        haze_color=np.float32(haze * tint),
        haze=float(rng.choice([0.003, 0.006, 0.015], p=[0.5, 0.35, 0.15])),
        zenith=np.float32(zenith * tint),
        clouds=float(rng.uniform(0, 1)),
        lamps=lamps,
    )
