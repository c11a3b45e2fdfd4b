"""MetaImage files (.mha, and .mhd with its values beside), https://itk.org/Wiki/ITK/MetaIO/Documentation."""

import logging
import re
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from densevit.volumes.formats.stored_volume import ReadOptions, StoredVolume, check_header
from densevit.volumes.formats.text_header import MOST_HEADER, TextHeader, read_values, text_line
from densevit.volumes.grid import times

logger = logging.getLogger("densevit")
TYPES = dict(
    MET_CHAR="i1", MET_UCHAR="u1", MET_SHORT="i2", MET_USHORT="u2", MET_INT="i4", MET_UINT="u4",
    MET_LONG_LONG="i8", MET_ULONG_LONG="u8", MET_FLOAT="f4", MET_DOUBLE="f8",
)  # fmt: skip
UNIT = 1e-3  # how far the length of a direction may lie from 1
LONGEST_LINE = 2**16  # bytes: of one that lists several files
FIELDS = {  # of the format; files may hold others, of the user's own
    "NDims", "DimSize", "ElementNumberOfChannels", "ElementType", "ElementSpacing", "ElementSize", "ElementDataFile",
    "ElementMin", "ElementMax", "ElementByteOrderMSB", "ElementToIntensityFunctionSlope", "BinaryData",
    "ElementToIntensityFunctionOffset", "BinaryDataByteOrderMSB", "CompressedData", "CompressedDataSize", "HeaderSize",
    "TransformMatrix", "Rotation", "Orientation", "Offset", "Position", "Origin", "CenterOfRotation", "Modality",
    "AnatomicalOrientation", "ObjectType", "ObjectSubType", "DistanceUnits", "CompressionLevel", "Comment",
}  # fmt: skip
SAME = dict(  # names that mean the same as another one
    Position="Offset",
    Origin="Offset",
    Rotation="TransformMatrix",
    Orientation="TransformMatrix",
    ElementByteOrderMSB="BinaryDataByteOrderMSB",
)


def open_metaimage(path: Path, *, options: ReadOptions) -> StoredVolume:
    """Read the header; a fourth axis holds channels. ValueError, with the file's name, for a bad one."""
    header, length = _read_header(path)
    (axes,) = header.integers("NDims", count=1)
    sizes = header.integers("DimSize", count=axes)
    (channels,) = header.integers("ElementNumberOfChannels", "1", count=1)
    if axes not in (3, 4):
        raise ValueError(f"{path} has {axes} axes, and a volume has three, or a fourth of channels; give a volume")
    shape = (*sizes, channels) if channels != 1 else tuple(sizes)
    affine = _affine(header, axes)
    for name, usual in (("ElementToIntensityFunctionSlope", "1"), ("ElementToIntensityFunctionOffset", "0")):
        if header.numbers(name, usual, count=1) != [float(usual)]:  # which programs differ about
            raise ValueError(f"{path} has the {name} {header.text(name)}, which is not read; save its values as meant")
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    dtype, compressed = _dtype(header), _is(header, "CompressedData")
    data, start = _place(header, length, compressed=compressed)

    def load() -> np.ndarray:
        stored = (*sizes[::-1], channels)  # the channels of a voxel lie side by side
        values = read_values(path, data, start, compressed=compressed, dtype=dtype, shape=stored)
        return values.transpose(*range(axes - 1, -1, -1), axes).reshape(shape)

    return StoredVolume(path, shape, affine, load)


def _read_header(path: Path) -> tuple[TextHeader, int]:
    """The fields, and the byte at which the header ends: after the line ElementDataFile."""
    header = TextHeader(path)
    with open(path, "rb") as file:
        while file.tell() < MOST_HEADER:
            name, equals, value = text_line(path, file.readline(LONGEST_LINE)).partition("=")
            if not equals:
                break
            name = SAME.get(name.strip(), name.strip())
            _check_name(path, name)
            header.add(name, value.strip())
            if name == "ElementDataFile":
                return header, file.tell()
    raise ValueError(f"{path} cannot be read as MetaImage (its header has no ElementDataFile); get the file again")


def _check_name(path: Path, name: str) -> None:
    """ValueError for a name that is nearly one of the format: it would be passed over as one of the user's own."""
    near = [] if name in FIELDS else get_close_matches(name.lower(), map(str.lower, FIELDS), n=1, cutoff=0.8)
    if near:
        meant = next(known for known in FIELDS if known.lower() == near[0])
        raise ValueError(
            f"{path} has the field {name!r} in its header, is it {meant}? Correct it, or get the file again"
        )


def _is(header: TextHeader, name: str, default: str = "False") -> bool:
    value = header.text(name, default).lower()
    if value not in ("true", "false", "1", "0"):
        raise ValueError(f"{header.path} says {name} {value!r}, and True or False is expected; correct its header")
    return value in ("true", "1")


def _affine(header: TextHeader, axes: int) -> np.ndarray:
    """The affine (4, 4) to right, anterior, superior; the file counts to left and posterior."""
    path = header.path
    size = header.fields.get("ElementSize", "")  # which stands for the spacing where that is not said
    spacing = header.numbers("ElementSpacing", size, count=axes)
    if not min(spacing) > 0:
        text = header.text("ElementSpacing", size)
        raise ValueError(f"{path} has the ElementSpacing {text}, and it must be positive; correct its header")
    if "TransformMatrix" not in header.fields:
        logger.warning("%s says not which way its axes run; they are taken to run left, posterior and superior", path)
    identity = " ".join(map(str, np.eye(axes).ravel()))
    directions = np.reshape(header.numbers("TransformMatrix", identity, count=axes * axes), (axes, axes))
    lengths = np.linalg.norm(directions, axis=1)
    if not np.allclose(lengths, 1, atol=UNIT):
        raise ValueError(
            f"{path} has a TransformMatrix whose rows have the lengths {times(lengths.round(4))}, and directions have "
            "the length 1; correct its header, or get the file again"
        )
    affine = np.eye(4)
    affine[:3, :3] = directions[:3, :3].T * spacing[:3]  # the file lists the direction of each axis in turn
    affine[:3, 3] = header.numbers("Offset", "0 " * axes, count=axes)[:3]
    return np.diag([-1, -1, 1, 1]) @ affine


def _dtype(header: TextHeader) -> np.dtype:
    name = header.text("ElementType").upper()
    if name not in TYPES:
        raise ValueError(
            f"{header.path} holds values of type {name}, and a volume holds plain numbers; convert the file"
        )
    return np.dtype((">" if _is(header, "BinaryDataByteOrderMSB") else "<") + TYPES[name])


def _place(header: TextHeader, length: int, *, compressed: bool) -> tuple[Path, int]:
    """In which file the values are, and from which byte on."""
    if not _is(header, "BinaryData", "True"):
        raise ValueError(f"{header.path} holds its values as text, and binary values are expected; save it so")
    name, skip = header.text("ElementDataFile"), header.text("HeaderSize", "0")
    if not re.fullmatch(r"\d+" if compressed else r"-1|\d+", skip):
        raise ValueError(f"{header.path} has the HeaderSize {skip!r}, which is not read; save it without")
    return header.place("" if name.upper() == "LOCAL" else name, skip, length=length)
