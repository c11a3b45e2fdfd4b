"""NRRD files (.nrrd, and .nhdr with its values beside), https://teem.sourceforge.net/nrrd/format.html."""

import re
from pathlib import Path

import numpy as np

from densevit.volumes.formats.stored_volume import ReadOptions, StoredVolume, check_header
from densevit.volumes.formats.text_header import MOST_HEADER, TextHeader, numbers, read_values, text_line

TYPES = {
    "i1": "signed char|int8|int8_t",
    "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t",
    "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float",
    "f8": "double",
}
SPACES = {  # signs that turn a space to right, anterior, superior
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
}
FIELDS = {  # of the format, without blanks
    "dimension", "type", "blocksize", "encoding", "endian", "content", "min", "max", "oldmin", "oldmax", "datafile",
    "lineskip", "byteskip", "number", "sampleunits", "space", "spacedimension", "spaceunits", "spaceorigin", "centers",
    "spacedirections", "measurementframe", "sizes", "spacings", "thicknesses", "axismins", "axismaxs", "centerings",
    "labels", "units", "kinds",
}  # fmt: skip
COMPRESSED = {"raw": False, "gzip": True, "gz": True}


def open_nrrd(path: Path, *, options: ReadOptions) -> StoredVolume:
    """Read the header; an axis beside those of space holds channels. ValueError, with the file's name, if it is bad."""
    header, length = _read_header(path)
    (axes,) = header.integers("dimension", count=1)
    sizes = header.integers("sizes", count=axes)
    affine, spatial = _affine(header, axes)
    order = (*spatial, *(axis for axis in range(axes) if axis not in spatial))
    shape = tuple(sizes[axis] for axis in order)
    dtype = _dtype(header)
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    compressed, (data, start) = _place(header, length)

    def load() -> np.ndarray:
        stored = read_values(path, data, start, compressed=compressed, dtype=dtype, shape=tuple(sizes[::-1]))
        return stored.T.transpose(order)

    return StoredVolume(path, shape, affine, load)


def _read_header(path: Path) -> tuple[TextHeader, int]:
    """The fields, in lower case without blanks, and the byte at which the header ends."""
    header = TextHeader(path)
    with open(path, "rb") as file:
        if not re.match(rb"NRRD000\d\s*$", file.readline(80)):
            raise ValueError(f"{path} cannot be read as NRRD (it does not begin with NRRD000); get the file again")
        while file.tell() < MOST_HEADER:
            text = text_line(path, file.readline(MOST_HEADER))
            if not text:  # a blank line, or the end of a header that stands alone
                return header, file.tell()
            name, colon, value = text.partition(":")
            if text.startswith("#") or value.startswith("="):  # a comment, or a key and value of the user's own
                continue
            key = name.strip().lower().replace(" ", "")
            if not colon or key not in FIELDS:
                raise ValueError(
                    f"{path} has the line {text[:80]!r} in its header, which is no field of NRRD; correct it, or get "
                    "the file again"
                )
            header.add(key, value.strip())
    raise ValueError(f"{path} has a header that does not end; get the file again")


def _affine(header: TextHeader, axes: int) -> tuple[np.ndarray, list[int]]:
    """The affine (4, 4) to right, anterior, superior, and which axes of the file are the three of space."""
    path, fields = header.path, header.fields
    space, directions = fields.get("space", "").lower(), fields.get("spacedirections", "")
    if space not in SPACES or not directions:
        raise ValueError(
            f"{path} does not say where it lies, by space {space!r} and space directions {directions!r}; "
            "a space such as left-posterior-superior and space directions are expected"
        )
    if any(unit.strip('"') not in ("mm", "") for unit in re.findall(r'"[^"]*"', fields.get("spaceunits", ""))):
        raise ValueError(f"{path} has the units {fields['spaceunits']}, and millimetres are expected; convert the file")
    vectors = re.findall(r"none|\([^)]*\)", directions)
    spatial = [axis for axis, vector in enumerate(vectors) if vector != "none"]
    if len(vectors) != axes or len(spatial) != 3:
        raise ValueError(f"{path} has {axes} axes and the space directions {directions}; three in space are expected")
    columns = [_vector(path, vectors[axis], "space directions") for axis in spatial]
    affine = np.eye(4)
    affine[:3, :3] = np.transpose(columns)
    affine[:3, 3] = _vector(path, fields.get("spaceorigin", "(0,0,0)"), "space origin")
    return np.diag([*SPACES[space], 1]) @ affine, spatial


def _vector(path: Path, text: str, field: str) -> list[float]:
    inside = re.fullmatch(r"\(([^(),]+),([^(),]+),([^(),]+)\)", text)
    if not inside:
        raise ValueError(f"{path} says {field} {text!r}, and three numbers such as (1,0,0) are expected; correct it")
    return numbers(path, " ".join(inside.groups()), field=field, count=3)


def _dtype(header: TextHeader) -> np.dtype:
    name = re.sub(r"\s+", " ", header.text("type").lower())
    code = next((code for code, names in TYPES.items() if name in names.split("|")), None)
    if code is None:
        raise ValueError(
            f"{header.path} holds values of type {name!r}, and a volume holds plain numbers; convert the file"
        )
    if code[1] == "1":
        return np.dtype(code)
    order = {"little": "<", "big": ">"}.get(header.text("endian").lower())
    if order is None:
        raise ValueError(
            f"{header.path} has the endian {header.text('endian')!r}, and 'little' or 'big' is expected; correct it"
        )
    return np.dtype(order + code)


def _place(header: TextHeader, length: int) -> tuple[bool, tuple[Path, int]]:
    """Whether values are compressed, and in which file they are, from which byte on."""
    encoding = header.text("encoding").lower()
    if encoding not in COMPRESSED:
        raise ValueError(f"{header.path} has the encoding {encoding!r}, and raw or gzip is expected; save it so")
    lines, skip = (header.text(name, "0") for name in ("lineskip", "byteskip"))
    if lines != "0" or not re.fullmatch("0" if COMPRESSED[encoding] else r"-1|\d+", skip):
        raise ValueError(
            f"{header.path} skips lines or bytes before its values in a way that is not read; save it without"
        )
    return COMPRESSED[encoding], header.place(header.fields.get("datafile", ""), skip, length=length)
