"""Layers of masks: small pictures of a plane for the page, and numbers of a volume's voxels for the viewer.

Legend: planes (rows, columns) and volumes (D, H, W) of the files' values; errors of 0 and the numbers of ERRORS from 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from densevit.labels import STRUCTURES, Color, parse_color
from densevit.report.thumbnails import picture_address

# What is wrong with a pixel, in colours that are seen on photos as well as on grey scans.
ERRORS = {"missed": f"#{STRUCTURES[2]}", "false": f"#{STRUCTURES[6]}", "another class": f"#{STRUCTURES[7]}"}
MOST_NUMBERS = 255  # of kinds of errors that the viewer tells apart
BITS = 20  # of a label's value; -1, which is no prediction, becomes one that no class has
VALUES = (1 << BITS) - 1
Paint = Mapping[str, tuple[tuple[int, ...], Color]]  # the values and the colour of each structure


def class_layers(plane: np.ndarray, paint: Paint) -> dict[str, str]:
    """Name -> picture of each that occurs; regions first, so that their parts are seen on them."""
    return {name: _mask(inside, [color]) for name, inside, color in structures_in(plane, paint) if inside.any()}


def error_layers(errors: np.ndarray, planes: Sequence[np.ndarray], paint: Paint) -> dict[str, str]:
    """Name -> picture of the errors where a structure is true or predicted."""
    colors, layers = [parse_color(color) for color in ERRORS.values()], {}
    for (name, true, _), (_, predicted, _) in zip(*(structures_in(plane, paint) for plane in planes), strict=True):
        concerned = errors * (true | predicted)
        if concerned.any():
            layers[name] = _mask(concerned, colors)
    return layers


def structures_in(plane: np.ndarray, paint: Paint) -> Iterator[tuple[str, np.ndarray, Color]]:
    """The name of each structure, where it is, and its colour; regions first."""
    for name, (values, color) in sorted(paint.items(), key=lambda item: -len(item[1][0])):
        yield name, np.isin(plane, values), color


def _mask(numbers: np.ndarray, colors: Sequence[Color]) -> str:
    """0 is not seen, 1 has the first colour."""
    picture = Image.fromarray(numbers.astype(np.uint8))
    picture.putpalette([*(255, 255, 255), *(part for color in colors for part in color)])
    return picture_address(picture, "png", transparency=0, bits=len(colors).bit_length())


def photo(image: np.ndarray, size: tuple[int, int]) -> str:
    """The address of an image (H, W) or (H, W, 3) in 8 bits, at this size."""
    return picture_address(Image.fromarray(image).resize(size[::-1], Image.Resampling.BOX), "jpeg", quality=82)


def number_errors(
    errors: np.ndarray, truth: np.ndarray, prediction: np.ndarray, paint: Paint
) -> tuple[np.ndarray, dict[str, Sequence[Any]]]:
    """Errors numbered anew by what is wrong, true and predicted, the commonest first, and the table of these numbers.

    What is rarer than a byte counts shares the last number, which is seen as long as any structure is.
    """
    wrong = errors > 0
    kind, true, predicted = (part[wrong].astype(np.int64) & VALUES for part in (errors, truth, prediction))
    keys, which, counts = np.unique(
        kind << 2 * BITS | true << BITS | predicted, return_inverse=True, return_counts=True
    )
    order = np.argsort(-counts, kind="stable")
    numbers = np.empty(len(keys), np.uint8)
    numbers[order] = np.minimum(np.arange(1, len(keys) + 1), MOST_NUMBERS)
    numbered = np.zeros(errors.shape, np.uint8)
    numbered[wrong] = numbers[which]
    of_kind, colors, of = [parse_color(color) for color in ERRORS.values()], [], []
    for key in keys[order][:MOST_NUMBERS].tolist():
        values = {key >> BITS & VALUES, key & VALUES}
        colors.append(of_kind[(key >> 2 * BITS) - 1])
        of.append([name for name, (labels, _) in paint.items() if values & set(labels)])
    if len(keys) > MOST_NUMBERS:
        of[-1] = list(paint)
    return numbered, color_table(colors, of)


def color_table(colors: Sequence[Color], of: Sequence[Sequence[str]]) -> dict[str, Sequence[Any]]:
    """Of the values 0, which is not seen, 1, 2, ..., as the viewer takes it, and of which structures each is."""
    red, green, blue = zip((0, 0, 0), *colors, strict=True)
    return dict(R=red, G=green, B=blue, A=[0, *[255] * len(colors)], of=[[], *of])
