"""Where visual tokens, or heads of attention, looked: each map over the image, one row a level or layer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from PIL import Image

from densevit.files import replacing
from densevit.labels import structure_colors
from densevit.report.saving import INK, drawable, new_figure, place_picture, save

CELL = 1.9  # inches across
GAP, MARGIN, TITLE = 0.05, 0.75, 0.3
TALLEST = 1.5  # height over width of a cell; a taller image is squeezed
COLORS = "inferno"
PEAK = 0.995  # the quantile of a map that is drawn brightest: single pixels may stand out above it


def token_sheet(image: np.ndarray, maps: Sequence[np.ndarray], path: str | Path, *, max_tokens: int = 16) -> Path:
    """Draw the image and, a row a level, the image under each of its tokens' maps, as PNG.

    The image is (H, W) or (H, W, 3) of uint8; `maps` holds (L, h, w) for each level, what `VTFPNDecoder.token_maps`
    gives for one sample (of a volume: one slice of each). Each map is drawn from dark at 0 to bright at its own peak;
    the number above it is the peak over the mean, 1 for a token that looks everywhere alike.
    """
    return map_sheet(image, [(f"level {row}", level) for row, level in enumerate(maps)], path, most=max_tokens)


def map_sheet(
    image: np.ndarray, rows: Sequence[tuple[str, np.ndarray]], path: str | Path, *, of: str = "token", most: int = 16
) -> Path:
    """The same of any maps: `rows` are names and maps (L, h, w), each of an `of`, of which `most` are drawn."""
    image, maps = np.asarray(image), [np.asarray(level, dtype=np.float64)[:most] for _, level in rows]
    _check(image, maps)
    columns = 1 + max(len(level) for level in maps)
    height = CELL * min(image.shape[0] / image.shape[1], TALLEST)
    figure = new_figure(MARGIN + columns * (CELL + GAP), len(maps) * (height + TITLE))
    for row, ((name, _), level) in enumerate(zip(rows, maps, strict=True)):
        figure.text(
            0.01, 1 - (row * (height + TITLE) + TITLE + height / 2) / figure.get_size_inches()[1],
            f"{drawable(name)}\n{level.shape[1]} x {level.shape[2]}", fontsize=8, color=INK, va="center",
        )  # fmt: skip
        bottom = figure.get_size_inches()[1] - (row + 1) * (height + TITLE)
        place_picture(figure, image, (MARGIN, bottom, CELL, height), title="image" if row == 0 else "")
        for column, weights in enumerate(level, start=1):
            place = (MARGIN + column * (CELL + GAP), bottom, CELL, height)
            title = f"{of} {column - 1}: " * (len(level) > 1) + f"{weights.max() / max(weights.mean(), 1e-30):.1f}"
            place_picture(figure, overlay_map(image, weights), place, title=title)
    return save(figure, path)


def save_label_map(label: np.ndarray, path: str | Path) -> Path:
    """Write class numbers (H, W) of uint8 as a PNG of one byte a pixel, with bright colours from 1 on."""
    path, picture = Path(path), Image.fromarray(label)
    table = np.zeros((256, 3), np.uint8)
    colors = structure_colors(int(label.max(initial=0)) + 1)
    table[: len(colors)] = colors
    picture.putpalette(table.tobytes())
    with replacing(path) as aside:
        picture.save(aside, format="PNG")
    return path


def overlay_map(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The image (H, W[, 3]) in grey under the colours of a map (h, w), stretched to its size: (H, W, 3) uint8."""
    grey = image if image.ndim == 2 else image.mean(axis=-1)
    rows, columns = (np.arange(n) * m // n for n, m in zip(image.shape[:2], weights.shape, strict=True))
    bright = weights / max(np.quantile(weights, PEAK), 1e-30)
    colors = colormaps[COLORS](np.clip(bright, 0, 1)[rows][:, columns])[..., :3]
    return (0.45 * grey[..., None] + 0.55 * 255 * colors).round().astype(np.uint8)


def _check(image: np.ndarray, maps: Sequence[np.ndarray]) -> None:
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(f"expected an image (H, W) or (H, W, 3) of uint8, got {image.dtype} of shape {image.shape}")
    if not maps or any(level.ndim != 3 or 0 in level.shape for level in maps):
        shapes = [level.shape for level in maps]
        raise ValueError(f"expected maps (L, h, w) for each level, got shapes {shapes}; of a batch, give one sample")
