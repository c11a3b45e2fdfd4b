"""Colours of structures over grey scans, the same in tables of labels, in DICOM-SEG and in previews."""

from colorsys import hsv_to_rgb

from densevit.colors import Color

FIRST = ("e6463c", "46be5a", "4b8cf5", "f0be32", "be5ae1", "3cc8d2", "fa8228", "f078b4")
GOLDEN = 0.618034  # steps of the hue, so that neighbours in the list differ


def structure_colors(num_classes: int) -> list[Color]:
    """Black for the background, then bright colours."""
    picked = [tuple(bytes.fromhex(color)) for color in FIRST]
    more = [_bright(index) for index in range(max(0, num_classes - 1 - len(picked)))]
    return [(0, 0, 0), *picked, *more][:num_classes]


def _bright(index: int) -> Color:
    saturation, value = ((0.75, 0.95), (0.5, 1.0), (0.85, 0.75))[index % 3]
    red, green, blue = hsv_to_rgb((0.05 + index * GOLDEN) % 1, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)
