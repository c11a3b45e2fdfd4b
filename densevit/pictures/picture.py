"""Picture files decoded whole, with what PIL does not tell of them; or one sentence with the file's name."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from PIL import Image, ImageFile

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")
MAX_PIXELS = 178_956_970  # PIL's own limit, above which a file counts as a decompression bomb
_ORIENTATION_TAG = 0x0112
_SUBFILE_TAG = 0x00FE
_PNG_END = b"IEND\xaeB`\x82"


View = tuple[tuple[int, int], int]  # upright size (H, W), EXIF orientation that was applied (1 = none)


@dataclass(frozen=True)
class Picture:
    """A decoded file: PIL's pixels, the packing they had in the file, and the EXIF orientation (1 = upright).

    `peak` is the largest value that a grey sample of the file can have; PIL stretches 0 .. peak over its own range.
    """

    path: str
    image: Image.Image
    packing: str
    orientation: int
    peak: int


def load_picture(path: str | PathLike) -> Picture:
    """Decode the whole file; anything that is not a complete picture raises ValueError."""
    # Other libraries switch this on for the whole process, and a truncated file would then come back grey.
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    path = str(path)
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check_header(image)
            packing, peak = _packing(image), _peak(image)
            orientation = _orientation(image)  # before loading: PIL drops it from TIFFs there
            image.load()
        if image.format == "PNG":
            _check_png_end(path)
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # PIL raises almost anything on corrupt files, even SyntaxError and struct.error
        raise ValueError(_complaint(path, error)) from error
    return Picture(path, image, packing, orientation, peak)


def read_view(path: str | PathLike) -> View:
    """The upright size (H, W) and the EXIF orientation that says so, from the file's header alone."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            orientation = _orientation(image)
            swapped = orientation >= 5 and image.format != "TIFF"  # PIL's size of a TIFF is upright
            return ((image.width, image.height) if swapped else (image.height, image.width)), orientation
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:
        raise ValueError(_complaint(str(path), error)) from error


def _orientation(image: Image.Image) -> int:
    orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    return orientation if orientation in range(1, 9) else 1


def lossy_kind(picture: Picture) -> str | None:
    """What changed the values of the pixels when they were saved, or None."""
    image = picture.image
    if image.format in ("JPEG", "MPO"):
        return "a JPEG"
    if image.format == "TIFF" and image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp"):
        return "a TIFF with JPEG or WebP compression"
    if image.format == "WEBP" and b"VP8L" not in Path(picture.path).read_bytes():  # the mark of the lossless kind
        return "a lossy WebP"
    return None


def _complaint(path: str, error: Exception) -> str:
    if Path(path).stat().st_size == 0:
        return f"cannot read {path}: the file is empty; copy it again"
    if isinstance(error, Image.UnidentifiedImageError):
        return (
            f"cannot read {path}: it is not a PNG, JPEG, TIFF, BMP, PPM, WebP or GIF, or a damaged one, "
            "or of an unusual pixel type; copy or convert it again"
        )
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


def _peak(image: Image.Image) -> int:
    codec, packing = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", "")
    if codec in ("ppm", "ppm_plain") and isinstance(packing, tuple):
        return packing[1]
    return {"L;2": 3, "L;4": 15}.get(_packing(image), 65535 if image.mode.startswith("I") else 255)


def _check_png_end(path: str) -> None:
    with Path(path).open("rb") as file:
        file.seek(-len(_PNG_END), 2)
        if file.read() == _PNG_END:
            return
        file.seek(0)
        if _PNG_END not in file.read():
            raise ValueError("image file is truncated (the end of the PNG is missing)")
