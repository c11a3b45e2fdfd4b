"""MetaImage files (.mha, and .mhd with its values beside), https://itk.org/Wiki/ITK/MetaIO/Documentation."""

import logging
from difflib import get_close_matches
from math import prod
from pathlib import Path

import numpy as np

from densevit.volumes.formats.raw_values import (
    FROM_THE_END,
    MOST_HEADER,
    add_field,
    data_file,
    integers,
    numbers,
    read_values,
    text_line,
)
from densevit.volumes.formats.stored_volume import StoredVolume, check_header
from densevit.volumes.grid import times
from densevit.volumes.read_options import REFUSING, ReadOptions

logger = logging.getLogger("densevit")
TYPES = dict(
    MET_CHAR="i1",
    MET_UCHAR="u1",
    MET_SHORT="i2",
    MET_USHORT="u2",
    MET_INT="i4",
    MET_UINT="u4",
    MET_LONG_LONG="i8",
    MET_ULONG_LONG="u8",
    MET_FLOAT="f4",
    MET_DOUBLE="f8",
)
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


def open_metaimage(path: Path, *, options: ReadOptions = REFUSING) -> StoredVolume:
    """Read the header; a fourth axis holds channels. ValueError, with the file's name, for a bad one."""
    fields, length = _read_header(path)
    (axes,) = integers(path, _need(path, fields, "NDims"), field="NDims", count=1)
    sizes = integers(path, _need(path, fields, "DimSize"), field="DimSize", count=axes)
    (channels,) = integers(path, fields.get("ElementNumberOfChannels", "1"), field="channels", count=1)
    shape = (*sizes, channels) if channels != 1 else tuple(sizes)
    if len(sizes) not in (3, 4):
        raise ValueError(
            f"{path} has {len(sizes)} axes, and a volume has three, or a fourth of channels; give a volume"
        )
    affine = _affine(path, fields, len(sizes))
    _check_unscaled(path, fields)
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    dtype, compressed = _dtype(path, fields), _is(path, fields, "CompressedData")
    data, offset = _place(path, fields, length, compressed=compressed)

    def load() -> np.ndarray:
        count = prod(shape)
        flat = read_values(path, data, offset=offset, compressed=compressed, dtype=dtype, count=count)
        values = flat.reshape(*sizes[::-1], channels)  # the channels of a voxel lie side by side
        return values.transpose(*range(len(sizes) - 1, -1, -1), len(sizes)).reshape(shape)

    return StoredVolume(path, shape, affine, load)


def _read_header(path: Path) -> tuple[dict[str, str], int]:
    """The fields, and the byte at which the header ends: after the line ElementDataFile."""
    fields: dict[str, str] = {}
    with open(path, "rb") as file:
        while file.tell() < MOST_HEADER:
            name, equals, value = text_line(path, file.readline(LONGEST_LINE)).partition("=")
            if not equals:
                break
            name = SAME.get(name.strip(), name.strip())
            _check_name(path, name)
            add_field(path, fields, name, value.strip())
            if name == "ElementDataFile":
                return fields, file.tell()
    raise ValueError(f"{path} cannot be read as MetaImage (its header has no ElementDataFile); get the file again")


def _check_name(path: Path, name: str) -> None:
    """ValueError for a name that is nearly one of the format: it would be passed over as one of the user's own."""
    near = [] if name in FIELDS else get_close_matches(name.lower(), map(str.lower, FIELDS), n=1, cutoff=0.8)
    if near:
        meant = next(known for known in FIELDS if known.lower() == near[0])
        raise ValueError(
            f"{path} has the field {name!r} in its header, is it {meant}? Correct it, or get the file again"
        )


def _need(path: Path, fields: dict[str, str], name: str) -> str:
    if not fields.get(name):
        raise ValueError(f"{path} does not say its {name}; correct its header")
    return fields[name]


def _is(path: Path, fields: dict[str, str], name: str, *, default: str = "False") -> bool:
    value = fields.get(name, default).lower()
    if value not in ("true", "false", "1", "0"):
        raise ValueError(f"{path} says {name} {value!r}, and True or False is expected; correct its header")
    return value in ("true", "1")


def _affine(path: Path, fields: dict[str, str], axes: int) -> np.ndarray:
    """The affine (4, 4) to right, anterior, superior; the file counts to left and posterior."""
    text = fields.get("ElementSpacing") or fields.get("ElementSize") or _need(path, fields, "ElementSpacing")
    spacing = numbers(path, text, field="ElementSpacing", count=axes)
    if not min(spacing) > 0:
        raise ValueError(f"{path} has the ElementSpacing {text}, and it must be positive; correct its header")
    identity = " ".join(str(n) for n in np.eye(axes).ravel())
    matrix = numbers(path, fields.get("TransformMatrix", identity), field="TransformMatrix", count=axes * axes)
    if "TransformMatrix" not in fields:
        logger.warning("%s says not which way its axes run; they are taken to run left, posterior and superior", path)
    lengths = np.linalg.norm(np.reshape(matrix, (axes, axes)), axis=1)
    if not np.allclose(lengths, 1, atol=UNIT):
        raise ValueError(
            f"{path} has a TransformMatrix whose rows have the lengths {times(lengths.round(4))}, and directions have "
            "the length 1; correct its header, or get the file again"
        )
    offset = numbers(path, fields.get("Offset", "0 " * axes), field="Offset", count=axes)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(matrix, (axes, axes))[:3, :3].T  # the file lists the direction of each axis in turn
    affine[:3, :3] *= spacing[:3]
    affine[:3, 3] = offset[:3]
    return np.diag([-1, -1, 1, 1]) @ affine


def _check_unscaled(path: Path, fields: dict[str, str]) -> None:
    """ValueError for values that are to be rescaled, which programs differ about."""
    for name, usual in (("ElementToIntensityFunctionSlope", 1), ("ElementToIntensityFunctionOffset", 0)):
        if numbers(path, fields.get(name, str(usual)), field=name, count=1) != [usual]:
            raise ValueError(
                f"{path} has the {name} {fields[name]}, which is not read; save its values as they are meant"
            )


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype:
    name = _need(path, fields, "ElementType").upper()
    if name not in TYPES:
        raise ValueError(f"{path} holds values of type {name}, and a volume holds plain numbers; convert the file")
    return np.dtype((">" if _is(path, fields, "BinaryDataByteOrderMSB") else "<") + TYPES[name])


def _place(path: Path, fields: dict[str, str], length: int, *, compressed: bool) -> tuple[Path, int]:
    """In which file the values are, and from which byte on."""
    if not _is(path, fields, "BinaryData", default="True"):
        raise ValueError(f"{path} holds its values as text, and binary values are expected; save it so")
    name, skip = fields["ElementDataFile"], fields.get("HeaderSize", "0")
    if name.split()[:1] in ([], ["LIST"]) or "%" in name:
        raise ValueError(f"{path} takes its values from several files; save it as one")
    if not skip.isdecimal() and (skip != "-1" or compressed):
        raise ValueError(f"{path} has the HeaderSize {skip!r}, which is not read; save it without")
    data, start = (path, length) if name.upper() == "LOCAL" else (data_file(path, name), 0)
    return data, FROM_THE_END if skip == "-1" else start + int(skip)
