"""Photos, pictures of any channels, and label maps from files: read right, or one sentence that names the file."""

from collections.abc import Mapping
from os import PathLike
from typing import Any

import numpy as np
from PIL import Image

from densevit.files import reads_a_file
from densevit.pictures.bands import read_bands
from densevit.pictures.color_coding import ColorMap, decode_colors
from densevit.pictures.picture import Picture, is_array, load_picture, lossy_kind, naming


def read_image(path: str | PathLike) -> np.ndarray:
    """The photo in `path` as RGB: uint8 (H, W, 3), turned upright as its EXIF orientation says.

    Grey, palette, CMYK and opaque alpha become RGB; 16 bits become 8 by value / 257, rounded. A truncated, corrupt,
    transparent, floating-point or multi-page file raises ValueError with the file's name.
    """
    return read_oriented_image(path)[0]


def read_channels(path: str | PathLike, *, channels: int) -> np.ndarray:
    """The picture in `path` as (C, H, W) of `channels` channels: the file's own numbers, turned upright.

    Pictures that PIL reads, TIFF files of any number of bands, and arrays (H, W) or (H, W, C) in .npy files. Grey
    becomes three equal channels, and three equal channels one; opaque alpha is dropped unless it is asked for. Another
    number of channels than is there raises ValueError, as do values that are no finite number, and what `read_image`
    refuses of a file.
    """
    return read_oriented_channels(path, channels=channels)[0]


def read_input(
    path: str | PathLike, *, channels: int, normalization: Mapping[str, Any], exif: str | None = None
) -> tuple[np.ndarray, int]:
    """(C, H, W) as `normalization` expects it, and the EXIF orientation that was applied (1 = none).

    Three channels whose means are those of 8-bit colours are read by `read_image`, all others by `read_channels`.
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


def read_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> np.ndarray:
    """The label map in `path` as the file's own integers (H, W): uint8, uint16 or int32.

    Palette files give their indices, but for GIF, whose writers renumber them: it is read as what it shows. With
    `color_map` ({(r, g, b): value}) the file is read as colours, and a colour that is not listed raises ValueError.
    JPEG and other lossy compressions are refused: they change values.
    """
    return read_oriented_label(path, color_map=color_map)[0]


@reads_a_file
def read_oriented_image(path: str | PathLike) -> tuple[np.ndarray, int]:
    """As `read_image`, together with the EXIF orientation that was applied (1 = none)."""
    picture = load_picture(path)
    return _upright(_to_rgb(picture), picture), picture.orientation


@reads_a_file
def read_oriented_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> tuple[np.ndarray, int]:
    """As `read_label`, together with the EXIF orientation that was applied (1 = none)."""
    picture = load_picture(path)
    if kind := lossy_kind(picture):
        raise ValueError(f"{picture.path} is {kind}, which changes label values; save labels as PNG")
    pixels = _to_values(picture) if color_map is None else decode_colors(_colors(picture), color_map, path=picture.path)
    return _upright(pixels, picture), picture.orientation


@reads_a_file
def read_oriented_channels(path: str | PathLike, *, channels: int) -> tuple[np.ndarray, int]:
    """As `read_channels`, together with the EXIF orientation that was applied (1 = none)."""
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    pixels, orientation = _own_pixels(path, channels)
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
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        wrong = pixels.size - np.count_nonzero(np.isfinite(pixels))
        raise ValueError(f"{path} holds {wrong} values that are no finite number; replace them, for example by 0")
    return pixels.transpose(2, 0, 1), orientation


def _own_pixels(path: str | PathLike, channels: int) -> tuple[np.ndarray, int]:
    """(H, W) or (H, W, C) in the file's own numbers, and the orientation that was applied; `channels` are wanted."""
    if is_array(path):
        return read_array(path), 1
    with naming(path):
        bands = read_bands(path, channels=channels)
    if bands is not None:
        return turn(*bands), bands[1]
    picture = load_picture(path)
    return _upright(_own_values(picture, channels), picture), picture.orientation


def read_array(path: str | PathLike) -> np.ndarray:
    """Numbers (H, W) or (H, W, C) from a .npy file; ValueError for anything else in it."""
    with naming(path):
        array = np.load(path, allow_pickle=False)
        if array.dtype.kind not in "buif" or array.ndim not in (2, 3) or not array.size:
            raise ValueError(f"it holds {array.dtype} of shape {array.shape}, and numbers (H, W, C) are expected")
    return array.astype(np.uint8) if array.dtype.kind == "b" else array


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


def _to_rgb(picture: Picture) -> np.ndarray:
    image, path = picture.image, picture.path
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which have no colour; save it on an opaque background")
    image.info.pop("transparency", None)
    if ";16" in picture.packing and not picture.packing.endswith("S"):
        return (
            _sixteen_bit_grey(image)
            if image.mode.startswith("I")
            else _to_eight_bits(_sixteen_bit_values(picture)[..., :3])
        )
    if image.mode in ("F", "I", "LAB"):
        raise ValueError(f"{path} holds {image.mode} pixels ({picture.packing}); save the photo with 8 or 16 bits")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _own_values(picture: Picture, channels: int) -> np.ndarray:
    """The numbers of the file, without an opaque alpha that is not among the `channels` wanted."""
    image, path = picture.image, picture.path
    if "transparency" in image.info and not image.mode.startswith("I"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    plain = {"LA": (1, "L"), "RGBA": (3, "RGB")}.get(image.mode)
    if (plain is not None and plain[0] == channels) or "transparency" in image.info:
        if _is_transparent(image):
            raise ValueError(
                f"{path} has transparent pixels, which have no colour; save it on an opaque background, or set "
                f"in_channels={channels + 1} to see them"
            )
        image = image.convert(plain[1]) if plain is not None else image
    if ";16" in picture.packing and not image.mode.startswith("I"):
        return _sixteen_bit_values(picture)[..., : len(image.getbands())]
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L" or image.mode.startswith("I"):
        return _unstretched(np.asarray(image), picture.peak)
    if image.mode in ("P", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    if image.mode not in ("F", "LA", "RGB", "RGBA", "RGBX"):
        raise ValueError(f"{path} holds {image.mode} pixels ({picture.packing}); save it as grey, RGB or RGBA")
    return np.asarray(image)


def _is_transparent(image: Image.Image) -> bool:
    if image.mode.startswith("I"):
        return "transparency" in image.info and bool((np.asarray(image) == image.info["transparency"]).any())
    if image.has_transparency_data:
        return image.convert("RGBA").getchannel("A").getextrema()[0] < 255
    return False


def _sixteen_bit_grey(image: Image.Image) -> np.ndarray:
    grey = _to_eight_bits(np.asarray(image))
    return np.stack([grey] * 3, axis=-1)


def _sixteen_bit_values(picture: Picture) -> np.ndarray:
    """RGB or RGBA, uint16 (H, W, C).

    PIL keeps the high byte only, so OpenCV reads the 16 bits, and must agree with PIL on those high bytes.
    """
    import cv2  # here alone: few sets have such files

    try:
        stored = cv2.imdecode(np.fromfile(picture.path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    high = np.asarray(picture.image.convert("RGB"))
    if stored is not None and stored.dtype == np.uint16 and stored.ndim == 3 and stored.shape[:2] == high.shape[:2]:
        stored = stored[..., [2, 1, 0, *range(3, stored.shape[2])]]  # BGR or BGRA to RGB
        if np.array_equal(stored[..., :3] >> 8, high):
            return stored
    raise ValueError(f"{picture.path} is a 16-bit colour file that cannot be read exactly; save it with 8 bits")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_values(picture: Picture) -> np.ndarray:
    image = picture.image
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L" or image.mode.startswith("I"):
        return _unstretched(np.asarray(image), picture.peak)
    if image.mode == "P" and image.format != "GIF":
        return np.asarray(image)
    if image.mode == "F":
        raise ValueError(f"{picture.path} holds floating-point values; save labels as 8- or 16-bit integers")
    colors = _colors(picture)
    if (colors == colors[..., :1]).all():
        return _unstretched(colors[..., 0], picture.peak)
    raise ValueError(
        f"{picture.path} is a colour picture ({image.mode}), so which colour is which class must be said: "
        "give color_map, in the config or the classes file"
    )


def _unstretched(values: np.ndarray, peak: int) -> np.ndarray:
    """The file's own 0 .. peak from what PIL stretched over 0 .. 255, or 65535 for 16 bits."""
    top = 255 if values.dtype == np.uint8 else 65535
    return values if peak == top else ((values.astype(np.int64) * peak + top // 2) // top).astype(values.dtype)


def _colors(picture: Picture) -> np.ndarray:
    image, path = picture.image, picture.path
    if ";16" in picture.packing or picture.peak > 255 or image.mode in ("F", "I", "LAB", "CMYK"):
        raise ValueError(f"{path} holds {picture.packing or image.mode} pixels; save colour-coded labels as 8-bit RGB")
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which name no class; save the label without alpha")
    image.info.pop("transparency", None)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
