"""Photos and label maps from files: read right, or one sentence that names the file."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from densevit.datasets.colors import ColorMap, decode_colors

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")
MAX_PIXELS = 178_956_970  # PIL's own limit, above which a file counts as a decompression bomb
_ORIENTATION_TAG = 0x0112
_SUBFILE_TAG = 0x00FE
_PNG_END = b"IEND\xaeB`\x82"


@dataclass(frozen=True)
class Picture:
    """A decoded file: PIL's pixels, the packing they had in the file, and the EXIF orientation (1 = upright)."""

    path: str
    image: Image.Image
    packing: str
    orientation: int


def read_image(path: str | PathLike) -> np.ndarray:
    """The photo in `path` as RGB: uint8 (H, W, 3), turned upright as its EXIF orientation says.

    Grey, palette, CMYK and opaque alpha become RGB; 16 bits become 8 by value / 257, rounded. A truncated, corrupt,
    transparent, floating-point or multi-page file raises ValueError with the file's name.
    """
    return read_oriented_image(path)[0]


def read_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> np.ndarray:
    """The label map in `path` as the file's own integers (H, W): uint8, uint16 or int32.

    Palette files give their indices. With `color_map` ({(r, g, b): value}) the file is read as colours, and a colour
    that is not listed raises ValueError. JPEG is refused: it changes values.
    """
    return read_oriented_label(path, color_map=color_map)[0]


def read_oriented_image(path: str | PathLike) -> tuple[np.ndarray, int]:
    """As `read_image`, together with the EXIF orientation that was applied (1 = none)."""
    picture = load_picture(path)
    return _upright(_to_rgb(picture), picture), picture.orientation


def read_oriented_label(path: str | PathLike, *, color_map: ColorMap | None = None) -> tuple[np.ndarray, int]:
    """As `read_label`, together with the EXIF orientation that was applied (1 = none)."""
    picture = load_picture(path)
    if picture.image.format in ("JPEG", "MPO"):
        raise ValueError(f"{picture.path} is a JPEG, which changes label values; save labels as PNG")
    pixels = _to_values(picture) if color_map is None else decode_colors(_colors(picture), color_map, path=picture.path)
    return _upright(pixels, picture), picture.orientation


def image_size(path: str | PathLike) -> tuple[int, int]:
    """(H, W) from the file's header, before any EXIF turn."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return image.height, image.width
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        raise ValueError(_complaint(str(path), error)) from error


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


def load_picture(path: str | PathLike) -> Picture:
    """Decode the whole file; anything that is not a complete picture raises ValueError."""
    # Other libraries switch this on for the whole process, and a truncated file would then come back grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    path = str(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_header(image)
            packing = _packing(image)
            orientation = image.getexif().get(_ORIENTATION_TAG, 1)  # before loading: PIL drops it from TIFFs there
            image.load()
        if image.format == "PNG":
            _check_png_end(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # PIL raises almost anything on corrupt files, even SyntaxError and struct.error
        raise ValueError(_complaint(path, error)) from error
    return Picture(path, image, packing, orientation if orientation in range(1, 9) else 1)


def _complaint(path: str, error: Exception) -> str:
    if Path(path).stat().st_size == 0:
        return f"cannot read {path}: the file is empty; copy it again"
    if isinstance(error, Image.UnidentifiedImageError):
        return f"cannot read {path}: it is not a PNG, JPEG, TIFF, BMP, PPM, WebP or GIF; convert it or copy it again"
    return f"cannot read {path}: {str(error).strip().rstrip('.') or type(error).__name__}; copy or convert it again"


def _check_header(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}; cut it into tiles")
    if _is_stack(image):
        raise ValueError("it holds several pages or frames, and one picture is expected")


def _is_stack(image: Image.Image) -> bool:
    if image.format == "MPO" or getattr(image, "n_frames", 1) == 1:  # further MPO frames are previews
        return False
    if image.format != "TIFF":
        return True
    size = image.size
    image.seek(1)
    # Bits of NewSubfileType: 1 = a smaller copy (GIMP writes one), 4 = a mask. Overviews may lack it, but are smaller.
    second_picture = image.size == size and not image.tag_v2.get(_SUBFILE_TAG, 0) & 0b101
    image.seek(0)
    return second_picture


def _packing(image: Image.Image) -> str:
    """PIL's name of the packing in the file, such as RGB;16B or L;4; empty where the format has just one."""
    if not image.tile:
        return ""
    args = image.tile[0][3]
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _check_png_end(path: str) -> None:
    with Path(path).open("rb") as file:
        file.seek(-len(_PNG_END), 2)
        if file.read() == _PNG_END:
            return
        file.seek(0)
        if _PNG_END not in file.read():
            raise ValueError("image file is truncated (the end of the PNG is missing)")


def _upright(pixels: np.ndarray, picture: Picture) -> np.ndarray:
    upright = picture.orientation == 1 or picture.image.format == "TIFF"  # PIL has already turned TIFFs
    return pixels if upright else turn(pixels, picture.orientation)


def _to_rgb(picture: Picture) -> np.ndarray:
    image, path = picture.image, picture.path
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which have no colour; save it on an opaque background")
    image.info.pop("transparency", None)
    if ";16" in picture.packing and not picture.packing.endswith("S"):
        return _sixteen_bit_grey(image) if image.mode.startswith("I") else _sixteen_bit_colors(picture)
    if image.mode in ("F", "I", "LAB"):
        raise ValueError(f"{path} holds {image.mode} pixels ({picture.packing}); save the photo with 8 or 16 bits")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _is_transparent(image: Image.Image) -> bool:
    if image.mode.startswith("I"):
        return "transparency" in image.info and bool((np.asarray(image) == image.info["transparency"]).any())
    if image.has_transparency_data:
        return image.convert("RGBA").getchannel("A").getextrema()[0] < 255
    return False


def _sixteen_bit_grey(image: Image.Image) -> np.ndarray:
    grey = _to_eight_bits(np.asarray(image))
    return np.stack([grey] * 3, axis=-1)


def _sixteen_bit_colors(picture: Picture) -> np.ndarray:
    """PIL keeps the high byte only, so OpenCV reads the 16 bits, and must agree with PIL on those high bytes."""
    import cv2  # here alone: few sets have such files

    try:
        stored = cv2.imdecode(np.fromfile(picture.path, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        stored = None
    high = np.asarray(picture.image.convert("RGB"))
    if stored is not None and stored.dtype == np.uint16 and stored.ndim == 3 and stored.shape[:2] == high.shape[:2]:
        stored = stored[..., 2::-1]  # BGR or BGRA to RGB
        if np.array_equal(stored >> 8, high):
            return _to_eight_bits(stored)
    raise ValueError(f"{picture.path} is a 16-bit colour file that cannot be read exactly; save it with 8 bits")


def _to_eight_bits(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_values(picture: Picture) -> np.ndarray:
    image = picture.image
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    if image.mode == "L":
        # PIL stretches 2- and 4-bit grey over 0 to 255.
        return np.asarray(image) // {"L;2": 85, "L;4": 17}.get(picture.packing, 1)
    if image.mode == "P" or image.mode.startswith("I"):
        return np.asarray(image)
    if image.mode == "F":
        raise ValueError(f"{picture.path} holds floating-point values; save labels as 8- or 16-bit integers")
    colors = _colors(picture)
    if (colors == colors[..., :1]).all():
        return colors[..., 0]
    raise ValueError(
        f"{picture.path} is a colour picture ({image.mode}), so which colour is which class must be said: "
        "give color_map, or a palette in the classes file"
    )


def _colors(picture: Picture) -> np.ndarray:
    image, path = picture.image, picture.path
    if ";16" in picture.packing or image.mode in ("F", "I", "LAB", "CMYK"):
        raise ValueError(f"{path} holds {picture.packing or image.mode} pixels; save colour-coded labels as 8-bit RGB")
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which name no class; save the label without alpha")
    image.info.pop("transparency", None)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
