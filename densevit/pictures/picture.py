"""Picture files decoded whole, with what PIL does not tell of them; or one sentence with the file's name."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from os import PathLike
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

from PIL import Image, ImageFile

from densevit.environment import ignore_warnings
from densevit.pictures import jpeg, png, tiff
from densevit.pictures.opening import PILS_WARNING, check_length, check_size, open_image

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".webp", ".gif")
ARRAY_ENDINGS = (".npy",)
VIDEO_ENDINGS = (".mp4", ".avi", ".mov", ".mkv", ".m4v", ".webm")
_asked_otherwise = Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded file: PIL's pixels, the packing they had in the file, and the EXIF orientation (1 = upright).

    `peak` is the largest value that a grey sample of the file can have, and `top` what PIL makes of it. `white`: 0 is
    white in the file, and more is darker.
    """

    path: str
    image: Image.Image
    packing: str
    orientation: int
    peak: int
    top: int
    white: bool = False


def load_picture(path: str | PathLike) -> Picture:
    """Decode the whole file; anything that is not a complete picture raises ValueError."""
    path = str(path)
    with naming(path), _complete_alone(), ignore_warnings(PILS_WARNING):
        content = Path(path).read_bytes()
        tags = tiff.read_tags(BytesIO(content)) if content[:4] in tiff.STARTS else None
        white = tags is not None and tags.get(tiff.PHOTOMETRIC) == tiff.WHITE
        if tags is not None:
            _check_bands(tags, path)
            content = tiff.counted_from_black(content) if white else content
        stream = _checked(content)
        with open_image(stream) as image:
            packing, peak, top = _samples(image)
            orientation = tiff.orientation_of(image.getexif())  # before loading: PIL drops it from TIFFs there
            if isinstance(stream, jpeg.Watched):
                stream.image = image
            image.load()
        if isinstance(stream, jpeg.Watched):
            stream.check()
    return Picture(path, image, packing, orientation, peak, top, white)


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
    except (FileNotFoundError, PermissionError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # PIL raises almost anything on corrupt files, even SyntaxError and struct.error
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        raise ValueError(_complaint(str(path), error)) from error


def is_array(path: str | PathLike) -> bool:
    """Whether a picture is kept as an array of NumPy's, by its name."""
    return str(path).lower().endswith(ARRAY_ENDINGS)


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
    if "\0" in path:
        return f"cannot read {path!r}: no file has a name with a null byte in it; correct the name"
    if Path(path).stat().st_size == 0:
        return f"cannot read {path}: the file is empty; copy it again"
    if isinstance(error, Image.UnidentifiedImageError):
        return (
            f"cannot read {path}: it is not a PNG, JPEG, TIFF, BMP, PPM, WebP or GIF, or a damaged one, "
            "or of an unusual pixel type; copy or convert it again"
        )
    reason = " ".join(str(error).split()).rstrip(".")
    if " " not in reason:  # a key or a number
        reason = f"it is damaged ({type(error).__name__}{f' {reason}' if reason else ''})"
    return f"cannot read {path}: {reason}; copy or convert it again"


def _check_bands(tags: Mapping[int, Any], path: str) -> None:
    if tiff.PHOTOMETRIC not in tags and tags.get(tiff.COMPRESSION) not in tiff.JPEG:
        raise ValueError("its tags do not say what its numbers show (PhotometricInterpretation is missing)")
    if tiff.extra_bands(tags):
        bands = tags[tiff.SAMPLES]
        raise ValueError(
            f"{path} has {bands} bands, and pictures have 3 of colours or 1 of greys or classes; set "
            f"in_channels={bands} and a normalization for the set to see all of them, or save it without the others"
        )


def _checked(content: bytes) -> BytesIO:
    """The file as a stream to decode, of which nothing is decoded that it does not hold; ValueError for damage that PIL
    would not see, and for more than one picture.
    """
    with open_image(BytesIO(content)) as image:
        check_size(image.size, len(image.getbands()))
        if image.format == "TIFF":
            several = tiff.holds_several(image.tag_v2, content)
        else:
            several = image.format != "MPO" and getattr(image, "is_animated", False)  # whose others are previews
        if several:
            raise ValueError("it holds several pages or frames, and one picture is expected")
        if image.format == "PNG":
            return BytesIO(png.unpacked(content))
        if image.format in ("JPEG", "MPO"):
            return jpeg.checked(content)
        if image.format == "TIFF":
            tiff.check_complete(image.tag_v2, content)
        check_length(image, content)
    return BytesIO(content)


def _samples(image: Image.Image) -> tuple[str, int, int]:
    """PIL's name of the packing in the file, such as RGB;16B or L;4, empty where the format has just one; the largest
    value of a grey sample in the file, and what PIL makes of it.
    """
    codec, args = (image.tile[0][0], image.tile[0][3]) if image.tile else ("", "")
    packing = args if isinstance(args, str) else str(args[0]) if args else ""
    top = 1 if image.mode == "1" else 65535 if image.mode.startswith("I") else 255
    if codec in ("ppm", "ppm_plain") and isinstance(args, tuple):
        return packing, args[1], top
    bits = {"L;2": 2, "L;4": 4}.get(packing, 8)
    if image.format == "TIFF":
        bits = image.tag_v2.get(tiff.BITS, (1,))[0]
    if bits == 12:
        return packing, 4095, 4095
    return packing, 2**bits - 1 if bits < 8 and image.mode == "L" else top, top
