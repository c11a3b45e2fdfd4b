"""One street scene from nothing but a random generator: the picture and its train ids."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from densevit.synthetic.streets.meshes import IGNORE, Camera, Label, Light, Mesh, join
from densevit.synthetic.streets.street import RARE, Street, populate, sample_camera, sample_light, sample_street

FINE = 2  # the scene is drawn this much finer than the picture, so that edges are smooth
FAR = 220.0  # metres; the ground ends here
KERB = 0.12  # metres that a sidewalk lies above the road
ASPHALT, PAVING, STONE = (0.36, 0.365, 0.38), (0.56, 0.54, 0.53), (0.66, 0.65, 0.63)
GRASS, PAINT, STEEL = (0.33, 0.42, 0.17), (0.63, 0.63, 0.62), (0.22, 0.22, 0.24)


def render_street_scene(rng: np.random.Generator, size: tuple[int, int] = (128, 256)) -> tuple[np.ndarray, np.ndarray]:
    """Draw a street scene: image (H, W, 3) uint8 RGB and train ids (H, W) uint8 with 255 on the bonnet of our car."""
    height, width = size
    if height < 16 or width < 16:
        raise ValueError(f"a street scene of size {size} cannot be drawn; height and width must be at least 16")
    camera = sample_camera(rng, (height * FINE, width * FINE))
    rare = {name for name, share in RARE.items() if rng.random() < share}
    street, light = sample_street(rng, rails="tram" in rare), sample_light(rng)
    scene = populate(rng, street=street, light=light, rare=rare, focal=camera.focal)
    canvas = np.zeros((*camera.size, 4), dtype=np.uint8)  # red, green, blue and train id
    paint_sky(canvas, camera, light=light, rng=rng)
    shadow = cast_shadows(scene.back + scene.front, camera, light=light)
    paint_ground(canvas, camera, street=street, light=light, shadow=shadow, rng=rng)
    image = Image.fromarray(canvas)
    for meshes in (scene.back, scene.front):
        draw_meshes(image, meshes, camera=camera, light=light)
    return expose(draw_bonnet(np.array(image), rng, light=light), rng)


def smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cells: tuple[int, int]) -> np.ndarray:
    """Soft random values of about unit spread: (H, W) float32 from `cells` (rows, columns) of white noise."""
    coarse = Image.fromarray(rng.standard_normal((max(cells[0], 2), max(cells[1], 2)), dtype=np.float32))
    return np.asarray(coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def paint_sky(canvas: np.ndarray, camera: Camera, *, light: Light, rng: np.random.Generator) -> None:
    """A gradient from zenith to haze, with clouds that thin out towards the horizon."""
    size = (int(np.clip(camera.center[1] + 2, 2, camera.size[0])), camera.size[1])
    rise = np.linspace(1, 0, size[0], dtype=np.float32)[:, None, None]
    noise = sum(smooth_noise(rng, size, cells=(5 * 2**i, 6 * 2**i)) * 0.62**i for i in range(4))[..., None]
    cover = np.clip((noise + 1.6 * light.clouds - 1.0) * 0.8, 0, 1) * np.minimum(rise * 4 + 0.25, 1)
    blue = light.haze_color + (light.zenith - light.haze_color) * rise**0.7
    white = np.minimum(light.haze_color * 1.12 + 0.04, 1.0) * (1 - 0.12 * np.clip(noise, 0, 2))
    canvas[: size[0], :, :3] = np.clip((blue + (white - blue) * cover) * 255, 0, 255)
    canvas[..., 3] = Label.SKY


def cast_shadows(meshes: list[Mesh], camera: Camera, *, light: Light) -> np.ndarray:
    """What things take from the light on the ground: (H, W) in 0-1; 1 right below them."""
    height, width = (side // FINE for side in camera.size)
    center = tuple(c / FINE for c in camera.center)
    coarse = replace(camera, focal=camera.focal / FINE, center=center, size=(height, width))
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    if light.sun_color.max() > 0.2:
        corners = join([mesh for mesh in meshes if mesh.bounds[2] < 60]).corners
        flat = corners - corners[..., 1:2] * (light.sun / max(float(light.sun[1]), 0.1))
        _fill(draw, flat, camera=coarse, fills=[120] * len(flat))
    feet = [[(a, 0, c), (b, 0, c), (b, 0, d), (a, 0, d)] for a, b, c, d in (m.bounds for m in meshes) if b - a < 3.2]
    _fill(draw, np.float32(feet), camera=coarse, fills=[255] * len(feet))
    soft = image.filter(ImageFilter.GaussianBlur(width / 320)).resize(camera.size[::-1])
    return np.asarray(soft, dtype=np.float32) / 255


def _fill(draw: ImageDraw.ImageDraw, corners: np.ndarray, *, camera: Camera, fills: list) -> None:
    """Draw polygons (n, k, 3) in their order, leaving out those outside the picture or behind the camera."""
    points = camera.project(corners)
    seen = (corners[..., 2].max(1) > 1) & (points.max(1) >= 0).all(1) & (points.min(1) < camera.size[::-1]).all(1)
    for i in np.flatnonzero(seen).tolist():
        draw.polygon(points[i].ravel().tolist(), fill=fills[i])


def draw_meshes(image: Image.Image, meshes: list[Mesh], *, camera: Camera, light: Light) -> None:
    """Draw things over the RGBA image, far ones and those at the sides of the view first."""
    places = np.array([mesh.bounds for mesh in meshes])
    order = np.argsort(-(places[:, 2:].sum(1) + 2 * np.abs(places[:, :2].sum(1))), kind="stable")
    mesh = join([meshes[i] for i in order])
    toward = np.einsum("nc,nc->n", mesh.normals, np.float32((0, camera.height, 0)) - mesh.corners[:, 0])
    both = ~mesh.normals.any(1)
    facing = np.where(both, 0.55, np.maximum(mesh.normals @ light.sun, 0))
    color = light.veil(mesh.colors * (light.ambient + light.sun_color * facing[:, None]), mesh.corners[..., 2].mean(1))
    fills = np.column_stack([np.clip(color * 255, 0, 255).astype(np.uint8), mesh.labels])[both | (toward > 0)]
    _fill(
        ImageDraw.Draw(image), mesh.corners[both | (toward > 0)], camera=camera, fills=list(map(tuple, fills.tolist()))
    )


def paint_ground(
    canvas: np.ndarray, camera: Camera, *, street: Street, light: Light, shadow: np.ndarray, rng: np.random.Generator
) -> None:
    """Draw the ground below the horizon; `shadow` (H, W) in 0-1 is what things on the street take from the light."""
    down = (np.arange(camera.size[0], dtype=np.float32) + 0.5 - camera.center[1]) / camera.focal
    first = int(np.argmax(down > camera.height / FAR))
    z = (camera.height / down[first:, None]).astype(np.float32)
    slopes = (np.arange(camera.size[1], dtype=np.float32) + 0.5 - camera.center[0]) / camera.focal
    x = slopes * z - np.float32(camera.bend) * z * z
    raised = x * (camera.height - KERB) / camera.height  # the sidewalk is nearer to the eye: its edges look moved
    x = np.where((raised < street.sides[0].kerb) | (raised > street.sides[1].kerb), raised, x)
    colors, labels = _surfaces(street, x, z, rng)
    below = shadow[first:]
    direct = max(float(light.sun[1]), 0.0) * (1 - np.minimum(2 * below, 1))
    lit = light.ambient + light.sun_color * direct[..., None]
    lit *= (_grain(rng, x, z) * (1 - 0.9 * np.maximum(below - 0.5, 0)))[..., None]
    canvas[first:, :, :3] = np.clip(light.veil(colors * lit, z) * 255, 0, 255)
    canvas[first:, :, 3] = labels


def _surfaces(street: Street, x: np.ndarray, z: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Unlit colours (h, W, 3) and train ids (h, W) of points of the ground."""
    left, right = street.sides
    beyond = np.maximum(left.kerb - x, x - right.kerb)  # metres behind the kerb
    green = (beyond < np.where(x < 0, left.verge, right.verge)) | (
        street.grass & ((x < left.front) | (x > right.front))
    )
    kind = np.select([beyond < 0, beyond < 0.16, green], [0, 1, 2], 3)
    grass = GRASS * rng.uniform(0.85, 1.15, 3) if rng.random() < 0.8 else (0.47, 0.41, 0.30)
    tones = rng.uniform(0.8, 1.15, (2, 1))
    palette = np.float32([ASPHALT * tones[0], STONE, grass, PAVING * tones[1], PAINT, STEEL])
    labels = np.array([Label.ROAD, Label.SIDEWALK, Label.TERRAIN, Label.SIDEWALK], dtype=np.uint8)[kind]
    kind = np.where((kind == 0) & _markings(street, x, z), 4, kind)
    if np.isfinite(street.rails):
        kind = np.where((np.abs(np.abs(x - street.rails) - 0.72) < 0.06) & (beyond < 0), 5, kind)
    colors = palette[kind]
    colors[(kind == 3) & ((x % 0.9 < 0.05) | (z % 0.9 < 0.05)) & (z < 14)] *= np.float32(0.82)  # slabs
    return colors, labels


def _markings(street: Street, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Painted lines: bool (h, W)."""
    dash = z % 9.0 < 4.5
    paint = (np.abs(x - street.lines[0]) < 0.09) & (dash | (z % 63 < 18))
    for line in street.lines[1:]:
        paint |= (np.abs(x - line) < 0.08) & dash
    for side in street.sides:
        paint |= (np.abs(x - side.kerb + side.sign * 2.3) < 0.07) & (z % 6.0 < 5.2) & side.parking
    bars = (z > street.zebra) & (z < street.zebra + 3.2)
    return np.where(bars, x % 1.0 < 0.5, paint)


def _grain(rng: np.random.Generator, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Grain that lies on the ground and so shrinks with distance: (h, W), about 1."""
    fine, broad = rng.standard_normal((256, 256), dtype=np.float32), smooth_noise(rng, (256, 256), cells=(20, 20))
    near = 0.06 * np.clip(1.3 - z / 25.0, 0.1, 1)
    i, j, k, m = ((place * scale).astype(np.int32) & 255 for place, scale in ((x, 24), (z, 12), (x, 12), (z, 4)))
    return 1 + 0.05 * broad[k, m] + near * fine[i, j]


def draw_bonnet(canvas: np.ndarray, rng: np.random.Generator, *, light: Light) -> np.ndarray:
    """The bonnet of our own car at the lower edge, labelled as ignored."""
    height, width = canvas.shape[:2]
    rise, tone = rng.uniform(0.03, 0.08) * height, rng.uniform(0.08, 0.3)
    across = np.linspace(-1.05, 1.05, width, dtype=np.float32) + np.float32(rng.uniform(-0.05, 0.05))
    edge = height - rise * np.sqrt(np.maximum(1 - across**2 * 0.85, 0))
    rows, columns = np.nonzero(np.arange(height, dtype=np.float32)[:, None] >= edge)
    gleam = np.exp(-(((rows - edge[columns]) / (0.25 * rise)) ** 2)) * 0.35 + tone
    color = gleam[:, None] * (light.ambient + light.haze_color * 0.5)
    canvas[rows, columns, :3] = np.clip(color * 255, 0, 255)
    canvas[rows, columns, 3] = IGNORE
    return canvas


def expose(canvas: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """What lens, sensor and JPEG make of the scene: softness, vignette, tone, grain and blocks."""
    train_ids = np.ascontiguousarray(canvas[FINE // 2 :: FINE, FINE // 2 :: FINE, 3])
    soft = Image.fromarray(canvas[..., :3]).reduce(FINE).filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.55)))
    image = np.asarray(soft, dtype=np.float32) / 255
    height, width = train_ids.shape
    rough = np.select([train_ids == Label.VEGETATION, train_ids == Label.TERRAIN], [0.1, 0.07], 0.02).astype(np.float32)
    image *= (1 + rough * rng.standard_normal((height, width), dtype=np.float32))[..., None]
    v, u = np.ogrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image *= (1 - rng.uniform(0.05, 0.22) * (u * u + v * v) / 2)[..., None].astype(np.float32)
    image = np.clip(image * rng.uniform(0.85, 1.12) * rng.uniform(0.96, 1.04, 3).astype(np.float32), 0, 1)
    image = image ** np.float32(rng.uniform(0.85, 1.15))
    image += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(rng.uniform(0.004, 0.015))
    buffer = io.BytesIO()
    picture = Image.fromarray(np.clip(image * 255 + 0.5, 0, 255).astype(np.uint8))
    picture.save(buffer, "JPEG", quality=int(rng.integers(80, 97)))
    return np.array(Image.open(buffer).convert("RGB")), train_ids
