"""One street scene from nothing but a random generator: the picture and its train ids."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from densevit.synthetic.streets.geometry import GLOW, MATT, Camera, Light, Mesh, join
from densevit.synthetic.streets.ground import paint_far_end, paint_ground, paint_sky, smooth_noise, sunlit
from densevit.synthetic.streets.labels import IGNORE, TERRAIN, VEGETATION
from densevit.synthetic.streets.population import draw_rare, populate
from densevit.synthetic.streets.street import Street, sample_camera, sample_light, sample_street
from densevit.synthetic.streets.walls import behind_layer, front_layer, paint_walls, top_rows

FINE = 2  # the scene is drawn this much finer than the picture, so that edges are smooth


def render_street_scene(rng: np.random.Generator, size: tuple[int, int] = (128, 256)) -> tuple[np.ndarray, np.ndarray]:
    """Draw a street scene: image (H, W, 3) uint8 RGB and train ids (H, W) uint8 with 255 on the bonnet of our car."""
    height, width = size
    if height < 16 or width < 16:
        raise ValueError(f"a street scene of size {size} cannot be drawn; height and width must be at least 16")
    camera = sample_camera(rng, (height * FINE, width * FINE))
    rare = draw_rare(rng)
    street = sample_street(rng, rails="tram" in rare)
    light = sample_light(rng)
    things = populate(rng, street=street, light=light, rare=rare, focal=camera.focal)

    canvas = np.zeros((*camera.size, 4), dtype=np.uint8)
    paint_sky(canvas, camera, light=light, rng=rng)
    paint_far_end(canvas, camera, light=light, rng=rng)
    shadow = cast_shadows(things.front + things.back, camera, light=light)
    paint_ground(canvas, camera, street=street, light=light, shadow=shadow, rng=rng)
    front, side = front_layer(camera, street, light=light)
    nothing = np.full(camera.size[1], np.inf)
    behind, hidden = behind_layer(camera, street, light=light, side=side), top_rows(camera, front, houses=street.houses)
    paint_walls(canvas, camera, layer=behind, houses=street.houses, light=light, hidden=hidden)
    canvas = draw_meshes(canvas, things.back, camera=camera, street=street, light=light)
    paint_walls(canvas, camera, layer=front, houses=street.houses, light=light, hidden=nothing)
    canvas = draw_meshes(canvas, things.front, camera=camera, street=street, light=light)
    canvas = draw_bonnet(canvas, rng, light=light)
    return expose(canvas, rng)


def cast_shadows(meshes: list[Mesh], camera: Camera, *, light: Light) -> np.ndarray:
    """What things take from the light on the ground: (H, W) in 0-1; 1 right below them."""
    height, width = camera.size
    coarse = replace(
        camera,
        focal=camera.focal / FINE,
        center=tuple(c / FINE for c in camera.center),
        size=(height // FINE, width // FINE),
    )
    image = Image.new("L", coarse.size[::-1])
    draw = ImageDraw.Draw(image)
    if light.sunny:
        mesh = join([m for m in meshes if m.bounds[2] < 60])
        x, y, z = mesh.vertices.T
        reach = y / max(float(light.sun[1]), 0.1)
        flat = np.stack([x - reach * light.sun[0], np.zeros_like(x), z - reach * light.sun[2]], axis=1)
        _fill(draw, flat, counts=mesh.counts, camera=coarse, fills=[120] * len(mesh.counts))
    feet = [m.bounds for m in meshes]
    feet = np.array(
        [[(a, 0, c), (b, 0, c), (b, 0, d), (a, 0, d)] for a, b, c, d in feet if b - a < 3.2], dtype=np.float32
    )
    _fill(draw, feet.reshape(-1, 3), counts=np.full(len(feet), 4), camera=coarse, fills=[255] * len(feet))
    soft = image.filter(ImageFilter.GaussianBlur(coarse.size[1] / 320)).resize((width, height))
    return np.asarray(soft, dtype=np.float32) / 255


def _fill(draw: ImageDraw.ImageDraw, vertices: np.ndarray, *, counts: np.ndarray, camera: Camera, fills: list) -> None:
    """Draw polygons in their order, leaving out those outside the picture or behind the camera."""
    points = camera.project(vertices)
    starts = np.cumsum(counts) - counts
    low = np.minimum.reduceat(points, starts)
    high = np.maximum.reduceat(points, starts)
    ahead = np.maximum.reduceat(vertices[:, 2], starts) > 1.0
    seen = ahead & (high >= 0).all(1) & (low[:, 0] < camera.size[1]) & (low[:, 1] < camera.size[0])
    flat = points.ravel().tolist()
    for i in np.flatnonzero(seen).tolist():
        start = 2 * starts[i]
        draw.polygon(flat[start : start + 2 * counts[i]], fill=fills[i])


def _normals(mesh: Mesh) -> np.ndarray:
    """Unit normals that look to the camera: (n, 3)."""
    starts = np.cumsum(mesh.counts) - mesh.counts
    following = np.arange(1, len(mesh.vertices) + 1)
    following[starts + mesh.counts - 1] = starts
    area = np.add.reduceat(np.cross(mesh.vertices, mesh.vertices[following]), starts)
    toward = np.einsum("nc,nc->n", area, np.float32((0, 1.5, 0)) - mesh.vertices[starts])
    area *= np.where(toward < 0, -1, 1)[:, None]
    return area / np.maximum(np.linalg.norm(area, axis=1, keepdims=True), 1e-9)


def _shade(mesh: Mesh, light: Light, *, sun: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Fill values (red, green, blue, train id) of all polygons; `sun` (n,) is the share of the sun each gets."""
    facing = np.where(mesh.shading == MATT, np.maximum(_normals(mesh) @ light.sun, 0), 0.6)
    lit = light.ambient + light.sun_color * (facing * sun)[:, None]
    lit[mesh.shading == GLOW] = 1.0
    starts = np.cumsum(mesh.counts) - mesh.counts
    color = light.veil(mesh.colors * lit, mesh.vertices[starts, 2])
    values = np.column_stack([np.clip(color * 255, 0, 255).astype(np.uint8), mesh.labels])
    return [tuple(row) for row in values.tolist()]


def _order(meshes: list[Mesh], camera: Camera) -> list[Mesh]:
    """Far things first; of two that stand side by side, the one farther from the middle of the view first."""
    feet = np.array([m.bounds for m in meshes])
    inner = np.where(feet[:, 0] > 0, feet[:, 0], np.where(feet[:, 1] < 0, -feet[:, 1], 0.0))
    near, far = feet[:, 2], feet[:, 3]
    beyond = near[:, None] >= far[None] - 0.02  # i stands beyond j
    beside = ~beyond & ~beyond.T & (inner[:, None] > inner[None])
    slopes = np.stack([feet[:, :2] / np.maximum(near, 1)[:, None], feet[:, :2] / np.maximum(far, 1)[:, None]])
    low, high = slopes.min((0, 2)), slopes.max((0, 2))
    overlap = (low[:, None] < high[None]) & (low[None] < high[:, None])
    first = (beyond | beside) & overlap
    np.fill_diagonal(first, False)
    left, result = np.ones(len(meshes), dtype=bool), []
    waiting = first.sum(0)
    for _ in meshes:
        free = np.flatnonzero(left & (waiting == 0))
        pool = free if len(free) else np.flatnonzero(left)
        pick = pool[np.argmax(near[pool])]
        left[pick] = False
        waiting = waiting - first[pick]
        result.append(meshes[pick])
    return result


def draw_meshes(canvas: np.ndarray, meshes: list[Mesh], *, camera: Camera, street: Street, light: Light) -> np.ndarray:
    """Draw things over the canvas (H, W, 4), the nearest last."""
    if not meshes:
        return canvas
    ordered = _order(meshes, camera)
    centers = np.array([m.bounds for m in ordered], dtype=np.float32)
    sun = sunlit(street, light, x=centers[:, :2].mean(1), z=centers[:, 2:].mean(1))
    mesh = join(ordered)
    sizes = [len(m.counts) for m in ordered]
    image = Image.fromarray(canvas)
    fills = _shade(mesh, light, sun=np.repeat(sun, sizes))
    _fill(ImageDraw.Draw(image), mesh.vertices, counts=mesh.counts, camera=camera, fills=fills)
    return np.array(image)


def draw_bonnet(canvas: np.ndarray, rng: np.random.Generator, *, light: Light) -> np.ndarray:
    """The bonnet of our own car at the lower edge, labelled as ignored."""
    height, width = canvas.shape[:2]
    rise, tone = rng.uniform(0.03, 0.08) * height, rng.uniform(0.08, 0.3)
    u = np.linspace(-1.05, 1.05, width, dtype=np.float32)
    edge = height - rise * np.sqrt(np.maximum(1 - (u + rng.uniform(-0.05, 0.05)) ** 2 * 0.85, 0))
    v = np.arange(height, dtype=np.float32)[:, None]
    rows, columns = np.nonzero(v[height // 2 :] >= edge)
    rows += height // 2
    gleam = np.exp(-(((rows - edge[columns]) / (0.25 * rise)) ** 2)) * 0.35 + tone
    color = gleam[:, None] * (light.ambient + light.haze_color * 0.5)
    canvas[rows, columns, :3] = np.clip(color * 255, 0, 255)
    canvas[rows, columns, 3] = IGNORE
    return canvas


def expose(canvas: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What lens, sensor and JPEG make of the scene: softness, vignette, tone, grain and blocks."""
    size = height, width = canvas.shape[0] // FINE, canvas.shape[1] // FINE
    train_ids = np.ascontiguousarray(canvas[FINE // 2 :: FINE, FINE // 2 :: FINE, 3])
    fine = Image.fromarray(canvas[..., :3])
    image = (
        np.asarray(fine.reduce(FINE).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.55))), dtype=np.float32) / 255
    )
    rough = np.where(train_ids == VEGETATION, 0.1, np.where(train_ids == TERRAIN, 0.07, 0.02)).astype(np.float32)
    grain = rng.standard_normal(size, dtype=np.float32)
    stains = smooth_noise(rng, size, cells=(height // 10, width // 10))
    image = image * (1 + rough * (0.8 * grain + 0.5 * stains))[..., None]
    v, u = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image *= (1 - rng.uniform(0.05, 0.22) * (u * u + v * v) / 2)[..., None].astype(np.float32)
    image = np.clip(image * rng.uniform(0.85, 1.12) * rng.uniform(0.96, 1.04, 3).astype(np.float32), 0, 1)
    image = image ** np.float32(rng.uniform(0.85, 1.15))
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.015))
    buffer = io.BytesIO()
    Image.fromarray(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8)).save(
        buffer, "JPEG", quality=int(rng.integers(80, 97))
    )
    return np.array(Image.open(buffer).convert("RGB")), train_ids
