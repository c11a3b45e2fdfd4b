"""House fronts by ray casting: what stands upright along the street depends on the pixel column alone.

The ray through a column meets the front line of one side at one depth; behind a gap, or above a lower house, it meets
the end wall of the next house or the back row. So each layer of walls is a set of (W,) arrays, and only the height on
the wall is worked out for every pixel.
"""

from dataclasses import dataclass

import numpy as np

from densevit.synthetic.streets.geometry import Camera, Light
from densevit.synthetic.streets.labels import BUILDING
from densevit.synthetic.streets.street import LENGTH, Houses, Row, Street

YARD = 16.0  # metres from the front line to the back row


@dataclass(frozen=True)
class Layer:
    """What the ray through each column meets: depth, position along the wall, house (-1: nothing), light."""

    z: np.ndarray
    along: np.ndarray
    house: np.ndarray
    light: np.ndarray  # (W, 3)


def line_depth(camera: Camera, slopes: np.ndarray, *, x: float) -> np.ndarray:
    """Depth at which rays of these slopes (W,) meet the line that runs along the street at `x`; inf if never."""
    root = slopes * slopes - 4 * camera.bend * x
    below = slopes + np.sign(x) * np.sqrt(np.maximum(root, 0))
    with np.errstate(divide="ignore"):
        z = 2 * x / below
    return np.where((root >= 0) & (z > 0), z, np.inf).astype(np.float32)


def front_layer(camera: Camera, street: Street, *, light: Light) -> tuple[Layer, np.ndarray]:
    """The two front lines, and for each column which one it meets: 0 left, 1 right."""
    slopes = camera.column_slopes()
    depths = np.stack([line_depth(camera, slopes, x=row.x) for row in street.rows])
    side = depths.argmin(0)
    z = depths.min(0)
    house = np.where(side == 0, street.rows[0].house_at(z), street.rows[1].house_at(z))
    lit = np.stack([light.on((1.0, 0.0, 0.0)), light.on((-1.0, 0.0, 0.0))])[side]
    z, lit = z.astype(np.float32), lit.astype(np.float32)
    seen = (z < LENGTH) & (street.houses.heights[house] > 0)
    return Layer(np.minimum(z, 1e4), np.minimum(z, 1e4), np.where(seen, house, -1), lit), side


def _row_behind(camera: Camera, row: Row, *, street: Street, light: Light) -> Layer:
    """End walls and the back row, as seen past one front line."""
    slopes = camera.column_slopes()
    z = line_depth(camera, slopes, x=row.x)
    index = np.clip(np.searchsorted(row.edges, z, side="right") - 1, 0, len(row.edges) - 2)
    end = row.edges[index + 1].astype(np.float32)
    x_end = slopes * end - camera.bend * end * end
    is_end = (np.abs(x_end - row.x) < YARD) & (np.sign(x_end) == np.sign(row.x))
    back = line_depth(camera, slopes, x=row.x + np.sign(row.x) * YARD)
    following = row.first + np.minimum(index + 1, len(row.edges) - 2)
    behind = row.first + (index * 7 + 3) % (len(row.edges) - 1)
    side_street = np.abs(end - street.crossing[1]) < 0.01
    house = np.where(is_end, following, np.where(side_street | (index % 3 == 0), -1, behind))
    house = np.where((z < LENGTH) & (street.houses.heights[house] > 0), house, -1)
    inner = light.on((-np.sign(row.x), 0.0, 0.0))
    return Layer(
        z=np.minimum(np.where(is_end, end, back), 1e4),
        along=np.where(is_end, np.abs(x_end), np.minimum(back, 1e4)),
        house=house,
        light=np.where(is_end[:, None], light.on((0.0, 0.0, -1.0)), inner),
    )


def behind_layer(camera: Camera, street: Street, *, light: Light, side: np.ndarray) -> Layer:
    """What is seen in the gaps and above the roofs of the front layer."""
    left, right = (_row_behind(camera, row, street=street, light=light) for row in street.rows)
    pick = side == 0
    return Layer(
        z=np.where(pick, left.z, right.z),
        along=np.where(pick, left.along, right.along),
        house=np.where(pick, left.house, right.house),
        light=np.where(pick[:, None], left.light, right.light),
    )


def _pixels(camera: Camera, layer: Layer, *, houses: Houses, hidden: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels that show this layer; `hidden` (W,) is the row from which another covers it."""
    height = np.where(layer.house >= 0, houses.heights[layer.house], -1.0)
    top = camera.center[1] + camera.focal * (camera.height - height) / layer.z
    foot = np.minimum(camera.center[1] + camera.focal * camera.height / layer.z, hidden)
    first = int(np.clip(top[height > 0].min(initial=camera.size[0]), 0, camera.size[0]))
    v = np.arange(first, camera.size[0], dtype=np.float32)[:, None] + 0.5
    rows, columns = np.nonzero((v >= top) & (v < foot) & (height > 0))
    return rows + first, columns


def top_rows(camera: Camera, layer: Layer, *, houses: Houses) -> np.ndarray:
    """The row from which a layer covers each column: (W,), inf where it shows nothing."""
    top = camera.center[1] + camera.focal * (camera.height - houses.heights[layer.house]) / layer.z
    return np.where(layer.house >= 0, top, np.inf)


def paint_walls(
    canvas: np.ndarray,
    camera: Camera,
    *,
    layer: Layer,
    houses: Houses,
    light: Light,
    hidden: np.ndarray | float = np.inf,
) -> None:
    """Draw one layer over the canvas (H, W, 4), whose channels are red, green, blue and train id.

    `hidden` (W,) is the row from which something nearer covers each column.
    """
    all_rows, all_columns = _pixels(camera, layer, houses=houses, hidden=hidden)
    clear = np.exp(-light.haze * layer.z)[:, None] * np.float32(255)
    veil = light.haze_color * (255 - clear)
    flat = canvas.reshape(-1, 4).view(np.uint32)
    for start in range(0, len(all_rows), 16384):  # pieces that stay in the processor's cache
        rows, columns = all_rows[start : start + 16384], all_columns[start : start + 16384]
        y = camera.height - camera.row_slopes()[rows] * layer.z[columns]
        color = _wall_colors(y, columns, layer=layer, houses=houses, light=light)
        color *= clear[columns]
        color += veil[columns]
        values = np.full((len(rows), 4), BUILDING, dtype=np.uint8)
        values[:, :3] = np.clip(color, 0, 255, out=color)
        flat[rows * camera.size[1] + columns] = values.view(np.uint32)


def _wall_colors(y: np.ndarray, columns: np.ndarray, *, layer: Layer, houses: Houses, light: Light) -> np.ndarray:
    """Plaster, windows, ledges, shop fronts and roofs at the heights y (N,) of the pixel columns (N,): (N, 3)."""
    house = layer.house[columns]
    bay, storey = layer.along / houses.bays[layer.house], y / houses.floors[house]
    detail = np.clip(1.6 - 2.2 * np.abs(np.gradient(bay)), 0, 1).astype(np.float32)[columns]  # far windows melt away
    level = np.floor(storey)
    up = storey - level
    across, middle = np.abs(bay - np.floor(bay) - 0.5)[columns], np.abs(up - 0.5)
    shop = (level < 1) & houses.shops[house]
    wide = np.where(shop, np.float32(0.44), houses.glass[house, 0] / 2)
    tall = np.where(shop, np.float32(0.35), houses.glass[house, 1] / 2)
    to_eaves = houses.heights[house] - houses.roofs[house] - y
    wall = to_eaves > 0.3
    frame = (across < wide + 0.035) & (middle < tall + 0.05) & wall
    glass = (across < wide) & (middle < tall) & wall
    railing = houses.balconies[house] & (up < 0.36) & (level >= 1) & wall & (across < 0.42)
    ledge = ((up < 0.06) | (to_eaves < 0.25)) & (to_eaves > 0)
    shade = np.where(shop, np.float32(0.72), np.float32(1))
    shade[frame] = 1.25
    shade[ledge] = 1.18
    shade[railing] = 1.22
    shade = (1 + (shade - 1) * detail) * (0.86 + 0.14 * np.minimum(y / 2.5, 1))  # dirt and less sky near the ground
    palette = np.concatenate([houses.colors[layer.house] * layer.light, houses.roof_colors[layer.house] * layer.light])
    color = palette[columns + len(layer.z) * (to_eaves < 0)] * shade[:, None]
    panes = np.flatnonzero(glass & ~railing & (detail > 0.02))
    pane, strength = _glass(np.floor(bay)[columns[panes]], level[panes], house=house[panes], light=light)
    share = (detail[panes] * strength)[:, None]
    color[panes] += (pane - color[panes]) * share
    return color


def _glass(bay: np.ndarray, level: np.ndarray, *, house: np.ndarray, light: Light) -> tuple[np.ndarray, np.ndarray]:
    """Colour of each pane (N, 3) - dark, mirroring the sky, curtained or lit - and how much it hides the wall (N,)."""
    key = bay.astype(np.uint32) * 7349 + level.astype(np.uint32) * 9151 + house.astype(np.uint32) * 4241
    draw = (key * np.uint32(2654435761) >> np.uint32(22)).astype(np.int32)  # a hash of the pane, 0 to 1023
    value = (np.arange(1024, dtype=np.float32) / 1024)[:, None]
    sky = (light.haze_color + light.zenith) * np.float32(0.4)
    dark = light.ambient * (0.18 + 0.2 * value) + sky * (0.35 * (value > 0.55))
    lit = np.float32((1.0, 0.84, 0.5)) * (0.75 + 0.25 * value / max(light.lamps, 0.01))
    table = np.where(value < light.lamps, lit, dark).astype(np.float32)
    return table[draw], np.where(draw > 950, np.float32(0.4), np.float32(0.95))
