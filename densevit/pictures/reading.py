"""Photos, pictures of any channels, and label maps from files: read right, or one sentence that names the file."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np

from densevit.pictures.bands import read_bands
from densevit.pictures.coding import ColorMap, decode_colors
from densevit.pictures.picture import Picture, is_array, load_picture, lossy_kind, naming
from densevit.pictures.pixels import own_values, to_colors, to_rgb, to_values


def read_image(path: str | PathLike) -> np.ndarray:
    """The pixels of `read_oriented_image`."""
    return read_oriented_image(path)[0]


def read_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> np.ndarray:
    """The values of `read_oriented_label`."""
    return read_oriented_label(path, color_map=color_map)[0]


def read_channels(path: str | PathLike, *, channels: int) -> np.ndarray:
    """The numbers of `read_oriented_channels`."""
    return read_oriented_channels(path, channels=channels)[0]


def read_input(
    path: str | PathLike, *, channels: int, normalization: Mapping[str, Any], exif: str | None = None
) -> tuple[np.ndarray, int]:
    """(C, H, W) as `normalization` expects it, and the EXIF orientation that was applied (1 = none).

    Three channels whose means are those of 8-bit colours are read as a photo, all others as the file's own numbers.
    With exif="ignore" none is applied: the picture is as it is stored.
    """
    mean = normalization.get("mean", ()) if normalization.get("type") == "mean_std" else ()
    if channels != 3 or len(mean) != 3 or max(mean) > 255 or is_array(path):
        image, orientation = read_oriented_channels(path, channels=channels)
    else:
        pixels, orientation = read_oriented_image(path)
        image = pixels.transpose(2, 0, 1)
    if exif == "ignore":
        return turn_back(image.transpose(1, 2, 0), orientation).transpose(2, 0, 1), 1
    return image, orientation


def read_oriented_image(path: str | PathLike) -> tuple[np.ndarray, int]:
    """The photo in `path` as uint8 RGB (H, W, 3), and the EXIF orientation by which it was turned upright (1 = none).

    Grey, palette, CMYK and opaque alpha become RGB; 16 bits become 8 by value / 257, rounded. A truncated, corrupt,
    transparent, floating-point or multi-page file raises ValueError with the file's name.
    """
    with naming(path):
        picture = load_picture(path)
        return _upright(to_rgb(picture), picture), picture.orientation


def read_oriented_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> tuple[np.ndarray, int]:
    """The label map in `path` as the file's own integers (H, W), and the orientation by which it was turned upright.

    They are uint8, uint16 or int32, whichever is shown as white. Palette files give their indices, but for GIF, whose
    writers renumber them: it is read as what it shows. With `color_map` ({(r, g, b): value}) the file is read as
    colours, and a colour that is not listed raises ValueError. JPEG and other lossy compressions are refused: they
    change values.
    """
    with naming(path):
        picture = load_picture(path)
        if kind := lossy_kind(picture):
            raise ValueError(f"{picture.path} is {kind}, which changes label values; save labels as PNG")
        if color_map is None:
            pixels = to_values(picture)
        else:
            pixels = decode_colors(to_colors(picture), color_map, path=picture.path)
        return _upright(pixels, picture), picture.orientation


def read_oriented_channels(path: str | PathLike, *, channels: int) -> tuple[np.ndarray, int]:
    """The picture in `path` as (C, H, W): the file's own numbers, and the orientation by which it was turned upright.

    Pictures that PIL reads, TIFF files of any number of bands, and arrays (H, W) or (H, W, C) in .npy files. Grey
    becomes three equal channels, and three equal channels one; opaque alpha is dropped unless it is asked for. Another
    number of channels than is there raises ValueError, as do values that are no finite number, and what
    `read_oriented_image` refuses of a file.
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    pixels, orientation = read_array(path) if is_array(path) else _own_pixels(path, channels)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    count = pixels.shape[2]
    if (count, channels) == (1, 3):
        pixels = pixels.repeat(3, axis=2)
    elif (count, channels) == (3, 1) and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., :1]
    elif count != channels:
        raise ValueError(
            f"{path} has {count} channel{'s' * (count > 1)} ({pixels.shape[0]} x {pixels.shape[1]} pixels), and "
            f"{channels} are expected; give pictures of {channels}, or set in_channels={count} for the set"
        )
    wrong = 0 if pixels.dtype.kind != "f" else pixels.size - np.count_nonzero(np.isfinite(pixels))
    if wrong:
        raise ValueError(f"{path} holds {wrong} values that are no finite number; replace them, for example by 0")
    return pixels.transpose(2, 0, 1), orientation


def _own_pixels(path: str | PathLike, channels: int) -> tuple[np.ndarray, int]:
    """(H, W) or (H, W, C) in the file's own numbers, and the orientation that was applied; `channels` are wanted."""
    with naming(path):
        bands = read_bands(path, channels=channels)
        if bands is not None:
            return turn(*bands), bands[1]
        picture = load_picture(path)
        return _upright(own_values(picture, channels), picture), picture.orientation


def read_array(path: str | PathLike) -> tuple[np.ndarray, int]:
    """Numbers (H, W) or (H, W, C) from a .npy file, which has no orientation; ValueError for anything else in it."""
    with naming(path):
        with open(path, "rb") as file:
            array = np.load(file, allow_pickle=False)
            if file.read(1):
                raise ValueError(f"it holds more than the {array.dtype} of shape {array.shape} that its header says")
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
            raise ValueError(f"it holds {array.dtype} of shape {array.shape}, and numbers (H, W, C) are expected")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array, 1


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H, W, ...) turned upright by an EXIF orientation of 1 to 8."""
    if orientation in (3, 4, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7):
        pixels = pixels[:, ::-1]
    if orientation in (5, 7):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (6, 8):
        pixels = np.rot90(pixels, -1 if orientation == 6 else 1)
    return np.ascontiguousarray(pixels)


def turn_back(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The inverse of `turn`: upright pixels as they were stored."""
    return turn(pixels, {6: 8, 8: 6}.get(orientation, orientation))


def _upright(pixels: np.ndarray, picture: Picture) -> np.ndarray:
    upright = picture.orientation == 1 or picture.image.format == "TIFF"  # PIL has already turned TIFFs
    return pixels if upright else turn(pixels, picture.orientation)
