"""BMP and PPM files, whose pixels lie in the file as they are: as many as the header says, or a sentence."""

from math import ceil

from PIL import Image

BITS = {"1": 1, "1;I": 1, "L": 8, "RGB": 24, "BGR": 24, "F;32F": 32, "F;32BF": 32}
SIZE_IN_BMP = slice(34, 38)  # the bytes of the pixels, or 0


def check_length(image: Image.Image, content: bytes) -> None:
    """ValueError, without the file's name, where an opened file holds more or fewer bytes than its pixels take.

    Other formats pass, and so do packings that only decoding tells the length of.
    """
    if image.format not in ("BMP", "PPM") or len(image.tile) != 1:
        return
    codec, _, offset, args = image.tile[0]
    width, height = image.size
    if image.format == "BMP" and codec == "raw":
        needed, said = args[1] * height, int.from_bytes(content[SIZE_IN_BMP], "little")
        more = said >= needed + args[1]
        fewer = 0 < said < needed
    elif image.format == "PPM" and codec in ("raw", "ppm"):
        bits = (
            8 * len(image.getbands()) * (2 if args[1] > 255 else 1)
            if codec == "ppm"
            else BITS.get(args if isinstance(args, str) else args[0])
        )
        if bits is None:
            return
        needed = ceil(width * bits / 8) * height
        more, fewer = bool(content[offset + needed :].strip()), len(content) < offset + needed
    else:
        return
    if more or fewer:
        raise ValueError(f"its header says {width} x {height} pixels, and it holds {'more' if more else 'fewer'}")
