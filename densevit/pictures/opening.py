"""Picture files opened with PIL up to a size in memory, also those that it takes for decompression bombs.

PIL's own limit, 179 million pixels, is a setting of the whole process, which is left alone; WebP and GIF keep it.
"""

from math import ceil
from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from densevit.pictures.tiff import HEIGHT, WIDTH
from densevit.texts import format_bytes

KEEP_THE_LIMIT = ("WEBP", "GIF")  # nothing tells in advance whether a file holds as many pixels as it says
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")
MAX_BYTES = 8 * 2**30  # of a picture as float32 numbers, as of a scan
PILS_WARNING = "Image size"  # how PIL's warning of half its limit begins
BITS = {"1;I": 1, "L": 8, "P": 8, "I;16B": 16, "RGB": 24, "F;32F": 32, "F;32BF": 32, "RGBA": 32, "CMYK": 32}  # in a PPM
SIZE_IN_BMP = slice(34, 38)  # the bytes of the pixels, or 0


def open_image(stream: BinaryIO) -> Image.Image:
    """PIL's picture with its header read, of whatever size; PIL's errors for what is none."""
    try:
        return Image.open(stream, formats=FORMATS)
    except Image.DecompressionBombError:
        stream.seek(0)
        start = stream.read(16)
        name = next(name for name in FORMATS if Image.OPEN[name][1](start))
        if name in KEEP_THE_LIMIT:
            raise
        stream.seek(0)
        image = Image.OPEN[name][0](stream, None)
        check_size(image.size, len(image.getbands()))
        if image.format == "TIFF":
            make_memory(image)
        return image


def make_memory(image: TiffImageFile) -> None:
    """Make the memory of a TIFF's pixels, where PIL would look at their number before it does."""
    image.im = Image.new(image.mode, (image.tag_v2[WIDTH], image.tag_v2[HEIGHT])).im


def check_size(size: tuple[int, int], channels: int) -> None:
    """ValueError, without the file's name, for a picture of (width, height) that would take too much memory."""
    needed = 4 * size[0] * size[1] * channels
    if needed > MAX_BYTES:
        raise ValueError(
            f"its {size[0]} x {size[1]} pixels of {channels} channels would take {format_bytes(needed)} as float32, "
            f"and {format_bytes(MAX_BYTES)} are allowed; cut it into tiles"
        )


def check_length(image: Image.Image, content: bytes) -> None:
    """ValueError, without the file's name, where a BMP or PPM holds more or fewer bytes than its pixels take.

    Their pixels lie in the file as they are. Other formats pass, and packings that only decoding tells the length of.
    """
    codec, _, offset, args = image.tile[0] if image.tile else ("", None, 0, None)
    width, height = image.size
    if image.format == "BMP" and codec == "raw":
        needed, said = args[1] * height, int.from_bytes(content[SIZE_IN_BMP], "little")
        more, fewer = said >= needed + args[1], 0 < said < needed
    elif image.format == "PPM" and codec in ("raw", "ppm"):
        if codec == "ppm":
            bits = 8 * len(image.getbands()) * (2 if args[1] > 255 else 1)
        else:
            bits = BITS[args if isinstance(args, str) else args[0]]
        end = offset + ceil(width * bits / 8) * height
        more, fewer = bool(content[end:].strip()), len(content) < end
    else:
        return
    if more or fewer:
        raise ValueError(f"its header says {width} x {height} pixels, and it holds {'more' if more else 'fewer'}")
