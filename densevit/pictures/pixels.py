"""The pixels of a decoded picture: as colours to look at, as the file's own numbers, or as the values of labels."""

import numpy as np
from PIL import Image

from densevit.pictures.picture import Picture


def to_rgb(picture: Picture) -> np.ndarray:
    """What the file shows, uint8 RGB (H, W, 3); ValueError for transparency, and for numbers without a known range."""
    image, path = picture.image, picture.path
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which have no colour; save it on an opaque background")
    image.info.pop("transparency", None)
    mode, packing = image.mode, picture.packing
    if mode in ("1", "L") or mode.startswith("I;16") or (mode == "I" and ";16" in packing and packing[-1] != "S"):
        shown = _stored_grey(image).astype(np.uint32)
        shown = picture.top - shown if picture.white else shown
        eight_bits = (shown * 255 + picture.top // 2) // picture.top  # of 16: value / 257, rounded
        return np.stack([eight_bits.astype(np.uint8)] * 3, axis=-1)
    if ";16" in packing and not mode.startswith("I"):
        return ((_sixteen_bit_values(picture)[..., :3].astype(np.uint32) + 128) // 257).astype(np.uint8)
    if mode in ("F", "I", "LAB"):
        raise ValueError(f"{path} holds {mode} pixels ({packing}); save the photo with 8 or 16 bits")
    return np.asarray(image if mode == "RGB" else image.convert("RGB"))


def own_values(picture: Picture, channels: int) -> np.ndarray:
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
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        values = _unstretched(_stored_grey(image), picture)
        return (picture.peak - values).astype(values.dtype) if picture.white else values
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


def _stored_grey(image: Image.Image) -> np.ndarray:
    """Grey samples (H, W) as PIL has them: up to `Picture.top`, and not yet turned round where 0 is white."""
    values = np.asarray(image)
    return values.astype(np.uint8 if values.dtype.kind == "b" else values.dtype.newbyteorder("="), copy=False)


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


def to_values(picture: Picture) -> np.ndarray:
    """The whole numbers of a label file (H, W); ValueError for colours and floating-point numbers."""
    image = picture.image
    if image.mode in ("1", "L") or image.mode.startswith("I"):
        return _unstretched(_stored_grey(image), picture)
    if image.mode == "P" and image.format != "GIF":
        return np.asarray(image)
    if image.mode == "F":
        raise ValueError(f"{picture.path} holds floating-point values; save labels as 8- or 16-bit integers")
    colors = to_colors(picture)
    if (colors == colors[..., :1]).all():
        return _unstretched(colors[..., 0], picture)
    raise ValueError(
        f"{picture.path} is a colour picture ({image.mode}), so which colour is which class must be said: "
        "save it in class numbers, or give color_map in the config or its classes file"
    )


def _unstretched(values: np.ndarray, picture: Picture) -> np.ndarray:
    """The file's own 0 .. peak from what PIL stretched over 0 .. top."""
    peak, top = picture.peak, picture.top
    return values if peak == top else ((values.astype(np.int64) * peak + top // 2) // top).astype(values.dtype)


def to_colors(picture: Picture) -> np.ndarray:
    """The colours of a label file, uint8 RGB (H, W, 3); ValueError where they are not exact or partly transparent."""
    image, path = picture.image, picture.path
    if ";16" in picture.packing or picture.peak > 255 or image.mode in ("F", "I", "LAB", "CMYK", "YCbCr"):
        raise ValueError(f"{path} holds {picture.packing or image.mode} pixels; save colour-coded labels as 8-bit RGB")
    if _is_transparent(image):
        raise ValueError(f"{path} has transparent pixels, which name no class; save the label without alpha")
    image.info.pop("transparency", None)
    if picture.white:
        return 255 - np.stack([np.asarray(image.convert("L"))] * 3, axis=-1)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
