"""Classes of pictures and volumes alike: their numbers, their names, their colours, and label maps drawn with these.

Legend: label (H, W) whole numbers, image (H, W, 3) uint8 RGB.
"""

import re
from collections.abc import Sequence
from colorsys import hsv_to_rgb
from typing import Any

import numpy as np

from densevit.quoting import shown

MOST_VALUE = 2**31 - 1  # of a class in label files
IGNORE = 255  # the ignored class in every label that leaves densevit.data
Color = tuple[int, int, int]
IGNORED_COLOR: Color = (0, 0, 0)
# Of the first structures over grey scans; those of later ones lie a golden step of the hue apart.
STRUCTURES = ("e6463c", "46be5a", "4b8cf5", "f0be32", "be5ae1", "3cc8d2", "fa8228", "f078b4")
GOLDEN = 0.618034


def label_type(num_classes: int) -> np.dtype:
    """The smallest unsigned type that holds class numbers from 0 to num_classes; with 256 classes it is uint16 already,
    because 255 in a label of bytes means `IGNORE`.
    """
    return np.min_scalar_type(num_classes)


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The class names as a tuple; none, an empty or a repeated name raises ValueError."""
    listed = isinstance(classes, list | tuple) and len(classes) > 0
    if not listed or not all(isinstance(name, str) and name.strip() for name in classes):
        raise ValueError(f"classes must be a list of names, got {shown(classes)}")
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise ValueError(f"the classes name {', '.join(twice)} more than once; each name may appear once")
    return tuple(classes)


def default_palette(num_classes: int) -> list[Color]:
    """Distinct colours: the bits of the index are dealt in turn to red, green and blue, highest bits first."""

    def channel(index: int, offset: int) -> int:
        return sum((index >> 3 * k + offset & 1) << 7 - k for k in range(8))

    return [(channel(index, 0), channel(index, 1), channel(index, 2)) for index in range(1, num_classes + 1)]


def parse_color(color: Sequence[int] | str) -> Color:
    """(r, g, b) from (r, g, b), "r,g,b" or "#rrggbb"."""
    parts: Any = color.split(",") if isinstance(color, str) else color
    if isinstance(color, str) and re.fullmatch("#[0-9a-fA-F]{6}", color):
        parts = bytes.fromhex(color[1:])
    if isinstance(parts, Sequence) and len(parts) == 3 and all(str(part).strip().isdecimal() for part in parts):
        red, green, blue = (int(part) for part in parts)
        if max(red, green, blue) <= 255:
            return red, green, blue
    raise ValueError(f"{shown(color)} is not a colour; write (r, g, b) with values from 0 to 255, 'r,g,b' or '#rrggbb'")


def is_color(thing: Any) -> bool:
    """Whether `parse_color` reads it."""
    try:
        return len(parse_color(thing)) == 3
    except ValueError:
        return False


def structure_colors(num_classes: int) -> list[Color]:
    """Black for the background, then bright colours: the same in tables of labels, in DICOM-SEG and in previews."""
    picked = [tuple(bytes.fromhex(color)) for color in STRUCTURES]
    more = [_bright(index) for index in range(max(0, num_classes - 1 - len(picked)))]
    return [(0, 0, 0), *picked, *more][:num_classes]


def _bright(index: int) -> Color:
    tone = ((0.75, 0.95), (0.5, 1.0), (0.85, 0.75))[index % 3]  # saturation and value
    red, green, blue = (round(255 * part) for part in hsv_to_rgb((0.05 + index * GOLDEN) % 1, *tone))
    return red, green, blue


def colorize(label: np.ndarray, palette: Sequence[Sequence[int]], *, ignore_index: int = IGNORE) -> np.ndarray:
    """(H, W) -> (H, W, 3) uint8; ignored pixels are black, and any other value without a colour raises ValueError."""
    ignored = label == ignore_index
    unknown = label[~ignored & ((label < 0) | (label >= len(palette)))]
    if unknown.size:
        raise ValueError(
            f"the label map holds {unknown[0]}, but the palette has colours for 0 to {len(palette) - 1}; "
            f"map the value to a class or to the ignored value {ignore_index}"
        )
    return np.array([*palette, IGNORED_COLOR], np.uint8)[np.where(ignored, len(palette), label.astype(np.intp))]


def overlay(
    image: np.ndarray,
    label: np.ndarray,
    *,
    palette: Sequence[Sequence[int]],
    alpha: float = 0.5,
    ignore_index: int = IGNORE,
) -> np.ndarray:
    """The image with the colours of its classes blended over it, hidden by an `alpha` of 1; (H, W, 3) uint8.

    Ignored pixels stay as they are; other values without a colour, and a label of another size, raise ValueError.
    """
    if image.shape[:2] != label.shape:
        raise ValueError(f"expected a label map of size {image.shape[:2]} like its image, got {label.shape}; resize it")
    colors = colorize(label, palette, ignore_index=ignore_index)
    mixed = np.round(image * np.float32(1 - alpha) + colors * np.float32(alpha)).astype(np.uint8)
    return np.where((label == ignore_index)[..., None], image, mixed)
