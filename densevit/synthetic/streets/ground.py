"""Sky, the far end of the street, and the ground with its lanes, kerbs, verges and shadows."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from densevit.synthetic.streets.geometry import Camera, Light
from densevit.synthetic.streets.labels import BUILDING, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION
from densevit.synthetic.streets.street import KERB, LENGTH, Street

FAR = 220.0  # metres; the ground ends here

ASPHALT = np.float32((0.36, 0.365, 0.38))
PAVING = np.float32((0.56, 0.54, 0.53))
STONE = np.float32((0.66, 0.65, 0.63))
GRASS = np.float32((0.33, 0.42, 0.17))
SOIL = np.float32((0.47, 0.41, 0.30))
PAINT = np.float32((0.88, 0.88, 0.86))
STEEL = np.float32((0.22, 0.22, 0.24))


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cells: tuple[int, int]) -> np.ndarray:
    """Soft random values of about unit spread: (H, W) float32 from `cells` (rows, columns) of white noise."""
    coarse = Image.fromarray(rng.standard_normal((max(cells[0], 2), max(cells[1], 2)), dtype=np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def paint_sky(canvas: np.ndarray, camera: Camera, *, light: Light, rng: np.random.Generator) -> None:
    """Fill the rows above the horizon: a gradient from zenith to haze, with clouds that flatten towards the horizon."""
    rows = int(np.clip(camera.center[1] + 2, 2, camera.size[0]))
    size = ((rows + 1) // 2, (camera.size[1] + 1) // 2)  # clouds are soft: half the pixels show them
    rise = np.linspace(1, 0, size[0], dtype=np.float32)[:, None]
    octaves = [(4, 5), (9, 9), (20, 24), (40, 60)]
    noise = sum(smooth_noise(rng, size, cells=cells) * 0.62**i for i, cells in enumerate(octaves))
    cover = np.clip((noise + 1.6 * light.clouds - 1.0) * 0.8, 0, 1) * np.minimum(rise * 4 + 0.25, 1)
    blue = light.zenith * rise[..., None] ** 0.7 + light.haze_color * (1 - rise[..., None] ** 0.7)
    white = np.minimum(light.haze_color * 1.12 + 0.04, 1.0) * (1 - 0.12 * np.clip(noise, 0, 2))[..., None]
    color = np.clip((blue + (white - blue) * cover[..., None]) * 255, 0, 255).astype(np.uint8)
    canvas[:rows, :, :3] = color.repeat(2, axis=0).repeat(2, axis=1)[:rows, : camera.size[1]]
    canvas[..., 3] = SKY


def paint_far_end(canvas: np.ndarray, camera: Camera, *, light: Light, rng: np.random.Generator) -> None:
    """Roofs and trees that close the view at the end of the street."""
    width = camera.size[1]
    trees = (
        smooth_noise(rng, (1, width), cells=(1, 16))[0] + 0.35 * smooth_noise(rng, (1, width), cells=(1, width // 6))[0]
    )
    blocks = np.repeat(rng.uniform(3, 16, 24), -(-width // 24))[:width]
    top = {VEGETATION: 7 + 2.5 * trees, BUILDING: np.where(blocks > 7, blocks, 0.0)}
    color = {VEGETATION: np.float32((0.24, 0.32, 0.18)), BUILDING: np.float32((0.5, 0.47, 0.44))}
    slopes = camera.row_slopes()[:, None]
    for label in (BUILDING, VEGETATION):
        mask = (slopes * LENGTH <= camera.height) & (slopes * LENGTH > camera.height - top[label])
        shade = light.veil((color[label] * light.ambient)[None], np.array([LENGTH]))
        canvas[mask] = (*np.clip(shade[0] * 255, 0, 255), label)


def _building_shadow(street: Street, light: Light, *, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Where the houses keep the sun from points of the ground: bool like x."""
    side = 0 if light.sun[0] < 0 else 1
    row = street.rows[side]
    away = np.abs(x - row.x) / max(abs(float(light.sun[0])), 1e-3)
    grid = np.arange(-80.0, FAR + 80.0, 0.5)
    inside = (grid > row.edges[0]) & (grid < row.edges[-1])
    heights = np.where(inside, street.houses.heights[row.house_at(grid)], 0.0).astype(np.float32)
    where = np.clip((z + away * light.sun[2] + 80.0) * 2, 0, len(grid) - 1).astype(np.int32)
    return away * light.sun[1] < heights[where]


def sunlit(street: Street, light: Light, *, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Share of the sun that reaches points of the ground, 0 in the shadow of houses and 1 outside: float like x."""
    if not light.sunny:
        return np.ones_like(x)
    return 1.0 - _building_shadow(street, light, x=x, z=z)


def _markings(street: Street, *, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Painted lines: bool (h, W)."""
    dash = (z % 9.0) < 4.5
    paint = (np.abs(x - street.lanes[0]) < 0.09) & (dash | (z % 63 < 18))
    for line in street.lanes[1:]:
        paint |= (np.abs(x - line) < 0.08) & dash
    for side, parked in enumerate(street.parking):
        if parked:
            line = street.road[side] + (2.3 if side == 0 else -2.3)
            paint |= (np.abs(x - line) < 0.07) & (z % 6.0 < 5.2)
    if np.isfinite(street.zebra):
        bars = (z > street.zebra) & (z < street.zebra + 3.2)
        paint = np.where(bars, (x % 1.0) < 0.5, paint)
        paint |= (z > street.zebra - 2.2) & (z < street.zebra - 1.8) & (x > street.lanes[0])
    return paint & ~((z > street.crossing[0]) & (z < street.crossing[1]))


def _surfaces(street: Street, *, x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label (h, W) and index into the colours (asphalt, paving, stone, green or yard) of each ground pixel."""
    left, right = street.road
    on_road = (x > left) & (x < right)
    past_kerb = np.maximum(left - x, x - right)
    verge = np.where(x < 0, street.verge[0], street.verge[1])
    yard = (x < street.rows[0].x) | (x > street.rows[1].x)
    crossing = (z > street.crossing[0]) & (z < street.crossing[1])
    kind = np.where(past_kerb < 0.16, 2, np.where(yard | (past_kerb < verge), 3, 1))
    kind = np.where(crossing | on_road, 0, kind)
    yard_label = TERRAIN if street.grass else SIDEWALK
    labels = np.array([ROAD, SIDEWALK, SIDEWALK, TERRAIN], dtype=np.uint8)[kind]
    labels[(kind == 3) & yard] = yard_label
    return labels, kind


@dataclass(frozen=True)
class _Look:
    """Colours of the surfaces (asphalt, paving, stone, green, yard) and the two tiles of grain of one scene."""

    palette: np.ndarray
    fine: np.ndarray
    broad: np.ndarray


def _sample_look(rng: np.random.Generator, street: Street) -> _Look:
    green = GRASS * rng.uniform(0.85, 1.15, 3).astype(np.float32) if rng.random() < 0.8 else SOIL
    yard = green if street.grass else PAVING * 0.85
    asphalt, paving = ASPHALT * rng.uniform(0.8, 1.15), PAVING * rng.uniform(0.85, 1.1)
    return _Look(
        palette=np.stack([asphalt, paving, STONE, green, yard]).astype(np.float32),
        fine=rng.standard_normal((256, 256), dtype=np.float32),
        broad=1 + 0.05 * smooth_noise(rng, (256, 256), cells=(20, 20)),
    )


def _texture(look: _Look, *, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Grain that lies on the ground and so shrinks with distance: (h, W), about 1."""
    near = 0.06 * np.clip(1.3 - z / 25.0, 0.1, 1)
    i, j = (x * 24).astype(np.int32) & 255, (z * 12).astype(np.int32) & 255
    k, m = (x * 12).astype(np.int32) & 255, (z * 4).astype(np.int32) & 255
    return look.broad[k, m] + near * look.fine[i, j]


def paint_ground(
    canvas: np.ndarray, camera: Camera, *, street: Street, light: Light, shadow: np.ndarray, rng: np.random.Generator
) -> None:
    """Draw the ground below the horizon; `shadow` (H, W) in 0-1 is what things on the street take from the light."""
    look = _sample_look(rng, street)
    first = int(np.argmax(camera.row_slopes() > camera.height / FAR))
    step = max(16384 // camera.size[1], 1)  # bands that stay in the processor's cache
    for start in range(first, camera.size[0], step):
        rows = slice(start, start + step)
        z = (camera.height / camera.row_slopes()[rows])[:, None].astype(np.float32)
        x = camera.column_slopes() * z - camera.bend * z * z
        raised = (camera.height - KERB) / camera.height  # the sidewalk is nearer to the eye: its edges look moved
        outside = np.maximum(street.road[0] - x * raised, x * raised - street.road[1])
        x = np.where(outside > 0, x * raised, x)
        color, labels = _ground_colors(street, look, x=x, z=z, shade=1 - 0.9 * np.maximum(shadow[rows] - 0.5, 0))
        sun = sunlit(street, light, x=x, z=z) * (1 - np.minimum(2 * shadow[rows], 1))
        color = light.veil(color * light.on((0.0, 1.0, 0.0), sun), z)
        canvas[rows, :, :3] = np.clip(color * 255, 0, 255, out=color)
        canvas[rows, :, 3] = labels


def _ground_colors(
    street: Street, look: _Look, *, x: np.ndarray, z: np.ndarray, shade: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Unlit colours (h, W, 3) and labels (h, W) of points of the ground."""
    labels, kind = _surfaces(street, x=x, z=z)
    texture = _texture(look, x=x, z=z)
    color = look.palette[np.where((labels == SIDEWALK) & (kind == 3), 4, kind)]
    slabs = (kind == 1) & (((x % 0.9) < 0.05) | ((z % 0.9) < 0.05)) & (z < 14)
    worn = 1 - 0.16 * np.maximum(0.45 - np.abs((x - street.lanes[0]) % 1.65 - 0.8), 0)  # where tyres run
    shade = shade * texture * np.where(labels == TERRAIN, 0.6 + 0.4 * texture * texture, np.where(slabs, 0.82, worn))
    color[_markings(street, x=x, z=z) & (kind == 0)] = PAINT * 0.6 + 0.1
    if np.isfinite(street.rails):
        color[(np.abs(np.abs(x - street.rails) - 0.72) < 0.06) & (kind == 0)] = STEEL
    return color * shade[..., None], labels
