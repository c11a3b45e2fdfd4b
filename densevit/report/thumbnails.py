"""Small pictures of samples with the colours of their labels, as JPEG.

Legend: image (C, *S), label (*S).
"""

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from densevit.data.dataset import Sample
from densevit.labels import IGNORE, Color, overlay
from densevit.report.planes import gray_window

LONGEST = 260  # pixels
BESIDE = 4  # pixels between planes
WIDEST = 3  # width of a plane over its height


def thumbnail(sample: Sample, *, palette: list[Color]) -> str:
    """A data: address of a picture, or of three planes of a volume side by side, the label laid over each."""
    image, label = np.asarray(sample.image), sample.label
    if sample.grid.affine is None:
        shown = draw_plane(image, label, palette=palette)
    else:
        shown = np.concatenate(planes_of(image, label, palette=palette, spacing=sample.grid.spacing), axis=1)
    small = Image.fromarray(shown)
    small.thumbnail((LONGEST if sample.grid.affine is None else 2 * LONGEST, LONGEST))
    return picture_address(small, "jpeg", quality=82)


def picture_address(picture: Image.Image, kind: str, **options: int) -> str:
    """A data: address of a picture, as a file of this kind."""
    with BytesIO() as file:
        picture.save(file, kind, **options)
        return f"data:image/{kind};base64,{b64encode(file.getvalue()).decode()}"


def planes_of(
    image: np.ndarray, label: np.ndarray | None, *, palette: list[Color], spacing: Sequence[float] = (1.0, 1.0, 1.0)
) -> list[np.ndarray]:
    """(H, W, 3) uint8 of each plane through the middle of what is labelled, head or front at the top, equally high."""
    places, window = [n // 2 for n in image.shape[1:]], gray_window(image[0])
    if label is not None and (found := np.argwhere((label > 0) & (label != IGNORE))).size:
        places = np.median(found, axis=0).astype(int).tolist()
    planes = []
    for axis, place in enumerate(places):
        plane = None if label is None else label.take(place, axis)[::-1, ::-1]
        drawn = draw_plane(image.take(place, axis + 1)[:, ::-1, ::-1], plane, palette=palette, window=window)
        high, wide = (n * s for n, s in zip(drawn.shape, np.delete(spacing, axis), strict=False))
        width = int(np.clip(LONGEST * wide / high, 1, WIDEST * LONGEST))
        planes.append(np.asarray(Image.fromarray(drawn).resize((width, LONGEST))))
        planes.append(np.full((LONGEST, BESIDE, 3), 255, np.uint8))
    return planes[:-1]


def draw_plane(
    image: np.ndarray,
    label: np.ndarray | None,
    *,
    palette: list[Color],
    window: tuple[float, float] | None = None,
) -> np.ndarray:
    """(C, H, W) with (H, W) -> (H, W, 3) uint8; bytes stay as they are, other values become grey in the window."""
    if image.dtype == np.uint8 and len(image) in (1, 3):
        shown = np.broadcast_to(image.transpose(1, 2, 0), (*image.shape[1:], 3))
    else:
        low, high = window or gray_window(image[0])
        grey = np.clip((image[0].astype(np.float32) - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
        shown = np.repeat(grey[..., None], 3, axis=-1)
    if label is None:
        return np.ascontiguousarray(shown)
    drawn = overlay(shown, label, palette=palette, alpha=0.4)
    background = np.all(np.array(palette[0]) == 0)  # of structures, in black, which would darken the scan
    return np.where((label == 0)[..., None], shown, drawn) if background else drawn
