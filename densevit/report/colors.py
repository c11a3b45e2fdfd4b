"""Label maps as pictures.

label      (H, W) of whole numbers
image      (H, W, 3) uint8 RGB
"""

from collections.abc import Sequence

import numpy as np

Color = tuple[int, int, int]
IGNORED = (0, 0, 0)


def colorize(label: np.ndarray, palette: Sequence[Color], ignore_index: int = 255) -> np.ndarray:
    """Label map (H, W) -> picture (H, W, 3) uint8; ignored pixels are black, other unknown values raise ValueError."""
    label = np.asarray(label)
    ignored = label == ignore_index
    index = np.where(ignored, len(palette), label)
    unknown = (index < 0) | (index > len(palette)) | ((index == len(palette)) & ~ignored)
    if unknown.any():
        raise ValueError(
            f"the label map holds {label[unknown].flat[0]}, but the palette has colours for 0 to {len(palette) - 1}; "
            f"map the value to a class or to the ignored value {ignore_index}"
        )
    return np.array([*palette, IGNORED], dtype=np.uint8)[index.astype(np.intp)]


def overlay(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Color], *, alpha: float = 0.5, ignore_index: int = 255
) -> np.ndarray:
    """The image (H, W, 3) with its classes shining through by `alpha`; ignored pixels stay as they are."""
    if image.shape[:2] != label.shape:
        raise ValueError(f"expected a label map of size {image.shape[:2]} like its image, got {label.shape}; resize it")
    mixed = image * (1.0 - alpha) + colorize(label, palette, ignore_index) * alpha
    mixed = np.where((label == ignore_index)[..., None], image, mixed)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)
