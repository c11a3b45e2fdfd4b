"""Picture files opened with PIL up to a size in memory, also those that it takes for decompression bombs.

PIL's own limit, 179 million pixels, is a setting of the whole process, which is left alone; WebP and GIF keep it.
"""

from typing import BinaryIO

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from densevit.pictures.tiff import HEIGHT, WIDTH
from densevit.texts import format_bytes

KEEP_THE_LIMIT = ("WEBP", "GIF")  # nothing tells in advance whether a file holds as many pixels as it says
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "PPM", "WEBP", "GIF")
MAX_BYTES = 8 * 2**30  # of a picture as float32 numbers, as of a scan
PILS_WARNING = "Image size"  # how PIL's warning of half its limit begins


def open_image(stream: BinaryIO, *, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """PIL's picture with its header read, of whatever size; PIL's errors for what is none."""
    try:
        return Image.open(stream, formats=formats)
    except Image.DecompressionBombError:
        stream.seek(0)
        start = stream.read(16)
        name = next(name for name in formats if Image.OPEN[name][1](start))
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
