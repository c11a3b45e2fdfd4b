"""Picture files decoded whole, with what PIL does not tell of them; or one sentence with the file's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from threading import Lock, get_ident

import numpy as np
from PIL import Image, ImageFile

from densevit.pictures.bands import HEIGHT, MAX_PIXELS, SUBFILE, WIDTH, orientation_of, read_tags

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".webp", ".gif")
ARRAY_ENDINGS = (".npy",)
_asked_otherwise = Lock()
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
    path = str(path)
    with naming(path), _complete_alone():
        with Image.open(path, formats=FORMATS) as image:
            _check_header(image)
            packing, peak = _packing(image), _peak(image)
            orientation = _orientation(image)  # before loading: PIL drops it from TIFFs there
            image.load()
        if image.format == "PNG":
            _check_png_end(path)
    return Picture(path, image, packing, orientation, peak)


class _ElsewhereAlone:
    """True in all threads but the one that made it."""

    def __init__(self) -> None:
        self.thread = get_ident()

    def __bool__(self) -> bool:
        return get_ident() != self.thread


@contextmanager
def _complete_alone() -> Iterator[None]:
    """Truncated files are errors in this thread, also where another library has told PIL to fill them up with grey."""
    if not ImageFile.LOAD_TRUNCATED_IMAGES:
        yield
        return
    with _asked_otherwise:
        before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, _ElsewhereAlone()
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


@contextmanager
def naming(path: str | PathLike) -> Iterator[None]:
    """Whatever goes wrong inside becomes a ValueError that names the file, but for files that are not there."""
    try:
        yield
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # PIL raises almost anything on corrupt files, even SyntaxError and struct.error
        raise ValueError(_complaint(str(path), error)) from error


def read_view(path: str | PathLike) -> View:
    """The upright size (H, W) and the EXIF orientation that says so, from the file's header alone."""
    with naming(path):
        if is_array(path):
            return np.load(path, mmap_mode="r", allow_pickle=False).shape[:2], 1
        tags = read_tags(path)
        if tags is not None:
            orientation = orientation_of(tags)
            size, swapped = (tags[HEIGHT], tags[WIDTH]), orientation >= 5
        else:
            with Image.open(path, formats=FORMATS) as image:
                orientation = _orientation(image)
                size, swapped = (image.height, image.width), orientation >= 5 and image.format != "TIFF"
        return size[::-1] if swapped else size, orientation


def is_array(path: str | PathLike) -> bool:
    """Whether a picture is kept as an array of NumPy's, by its name."""
    return str(path).lower().endswith(ARRAY_ENDINGS)


def _orientation(image: Image.Image) -> int:
    return orientation_of(image.getexif())


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
    second_picture = image.size == size and not image.tag_v2.get(SUBFILE, 0) & 0b101
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
