"""NRRD and MetaImage files written by hand."""

import numpy as np

SIZE = (4, 5, 6)  # X, Y, Z
VALUES = np.arange(120, dtype=np.int16).reshape(SIZE) - 20
# The direction and length of each axis of the file, to left, posterior, superior, and where its first voxel lies.
DIRECTIONS = np.array([[0.0, 1.5, 0.2], [-2.0, 0, 0], [0, 0.1, 3.0]])
ORIGIN = np.array([10.0, -20, 30])
RAS = np.diag([-1.0, -1, 1, 1])


def affine(directions=DIRECTIONS):
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = directions.T, ORIGIN
    return RAS @ result


def vector(values):
    return f"({','.join(map(str, values))})"


def nrrd(path, *, values=VALUES, content=None, **changes):
    """Write a file; `changes` replace lines of the header, None leaves one out."""
    lines = {
        "type": "short",
        "dimension": values.ndim,
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, values.shape)),
        "space_directions": " ".join(map(vector, DIRECTIONS)),
        "endian": "little",
        "encoding": "raw",
        "space_origin": vector(ORIGIN),
    } | changes
    header = "".join(f"{name.replace('_', ' ')}: {text}\n" for name, text in lines.items() if text is not None)
    raw = values.tobytes(order="F") if content is None else content
    path.write_bytes(b"NRRD0005\n# a comment\n" + header.encode() + b"key:=value\n\n" + raw)
    return path


def metaimage(path, *, values=VALUES, content=None, **changes):
    spacing = np.linalg.norm(DIRECTIONS, axis=1)
    lines = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(map(str, (DIRECTIONS / spacing[:, None]).ravel())),
        "Offset": " ".join(map(str, ORIGIN)),
        "ElementSpacing": " ".join(map(str, spacing)),
        "DimSize": " ".join(map(str, values.shape[:3])),
        "ElementType": "MET_SHORT",
        "ElementDataFile": "LOCAL",
    } | changes
    lines["ElementDataFile"] = lines.pop("ElementDataFile")
    header = "".join(f"{name} = {text}\n" for name, text in lines.items() if text is not None)
    path.write_bytes(header.encode() + (values.tobytes(order="F") if content is None else content))
    return path
