"""DICOM-SEG files to label maps on the grid of their scan."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from densevit.volumes.formats.dicom_file import Header, naming, quiet_pydicom, read_dataset
from densevit.volumes.formats.dicom_slices import Slice, frame_slices
from densevit.volumes.formats.stored_volume import to_standard

if TYPE_CHECKING:
    from densevit.volumes.volume import Volume

OFF_GRID = 0.3  # of a voxel: how far a frame may lie beside the voxels of the scan


@quiet_pydicom()
def read_dicom_seg(path: Path, *, like: "Volume", values: Sequence[int] | None = None) -> np.ndarray:
    """The label map (D, H, W), uint16, of a DICOM-SEG on the grid of the scan `like`; 0 where no segment is.

    Segments keep their numbers, or become `values` in the order of their numbers. BINARY and LABELMAP are read.
    ValueError for a file that is none, that is of another patient, study or frame of reference than the scan, that does
    not lie on its voxels, and for segments that overlap or that the file does not declare.
    """
    with naming(path):
        return np.ascontiguousarray(to_standard(_read(path, like, values), like.affine))


@quiet_pydicom()
def read_segment_names(path: Path) -> list[str]:
    """What a DICOM-SEG calls its segments, in the order of their numbers."""
    with naming(path):
        data = read_dataset(path)
        labels = {
            int(each.SegmentNumber): str(each.get("SegmentLabel", "")) for each in data.get("SegmentSequence") or []
        }
        return [labels[number] for number in _declared(path, data)]


def _read(path: Path, like: "Volume", values: Sequence[int] | None) -> np.ndarray:
    """The same in the scan's own order of axes (X, Y, Z)."""
    data = read_dataset(path, pixels=True)
    kind = str(data.get("SegmentationType", data.get("Modality", "no segmentation")))
    if kind not in ("BINARY", "LABELMAP"):
        raise ValueError(f"{path} is {kind}, and a BINARY or LABELMAP segmentation is expected")
    _check_origin(path, data, like)
    declared = _declared(path, data)
    own = np.zeros(like.on_own_axes(np.broadcast_to(np.False_, like.grid.size)).shape, np.uint16)
    for index, (frame, pixels) in enumerate(zip(frame_slices(Header(path, data)), _frames(path, data), strict=True)):
        part, found = own[_place(frame, pixels.shape, own.shape, like)], pixels
        if kind == "BINARY":
            if pixels.max() > 1:
                raise ValueError(
                    f"{path} says that it is BINARY and holds {pixels.max()}, as a FRACTIONAL segmentation does; "
                    "save it as BINARY from the program that made it"
                )
            found = pixels * np.uint16(_segment(path, data, index))
        strange = sorted(set(np.unique(found).tolist()) - {0, *declared})
        if strange:
            raise ValueError(f"{frame} shows segment {strange[0]}, which the file does not declare; get the file again")
        if ((part != 0) & (found != 0) & (part != found)).any():
            raise ValueError(f"{path} has segments that overlap, and a label map holds one at a voxel; split it first")
        np.maximum(part, found, out=part)
    return _table(path, declared, values)[own]


def _check_origin(path: Path, data: Any, like: "Volume") -> None:
    """ValueError where the file and the series of the scan say that they are of another patient, study or space."""
    for name, there in getattr(like.source, "origin", ()):
        said = str(data.get(name) or "")
        if said and "" not in there and said not in there:
            raise ValueError(
                f"{path} has the {name} {said}, and its scan {like.path} {' and '.join(sorted(there))}; "
                "give the series that it was made from, or correct the element"
            )


def _declared(path: Path, data: Any) -> list[int]:
    """The numbers of its segments, in their order; the background, which a LABELMAP may declare as 0, is none."""
    numbers = [int(segment.SegmentNumber) for segment in data.get("SegmentSequence") or []]
    if not numbers or len(set(numbers)) < len(numbers):
        raise ValueError(f"{path} declares the segments {numbers}, and each must be there once; get the file again")
    return sorted(number for number in numbers if number)


def _frames(path: Path, data: Any) -> Iterator[np.ndarray]:
    """The frames as (columns, rows), one after the other; ValueError where the file ends before they do."""
    from pydicom.pixels import iter_pixels

    packed = data.get("BitsAllocated") == 1 and not data.file_meta.TransferSyntaxUID.is_encapsulated
    there, shape, reason = 0, (int(data.Rows), int(data.Columns)), ""
    try:
        for pixels in _unpack(data) if packed else iter_pixels(data):
            if pixels.shape != shape:
                break
            there += 1
            yield pixels.T.astype(np.uint16)
    except (ValueError, AttributeError, EOFError, RuntimeError) as error:  # of pydicom's, or that PixelData is missing
        reason = f" ({' '.join(str(error).split())[:100]})"
    if there < int(data.NumberOfFrames):
        raise ValueError(
            f"{path} says that it has {data.NumberOfFrames} frames, and {there} are there{reason}: it is cut off or "
            "damaged; get the file again"
        )


def _unpack(data: Any) -> Iterator[np.ndarray]:
    """Frames (rows, columns) of single bits, the next beginning where the last ends, in the middle of a byte.

    pydicom 3.0.2 has them only all at once, or where they begin with a byte.
    """
    rows, columns = int(data.Rows), int(data.Columns)
    size = rows * columns
    content = np.frombuffer(data.PixelData, np.uint8)
    for start in range(0, size * int(data.NumberOfFrames), size):
        inside = content[start // 8 : -(-(start + size) // 8)]
        bits = np.unpackbits(inside, bitorder="little")[start % 8 :]
        yield bits[:size].reshape(rows, columns)


def _place(frame: Slice, size: tuple[int, ...], whole: tuple[int, ...], like: "Volume") -> tuple[slice | int, ...]:
    """Where a frame of (columns, rows) lies in the scan's own voxels (X, Y, Z)."""
    columns, rows = size
    corners = np.array([(0, 0, 0, 1), (columns - 1, 0, 0, 1), (0, rows - 1, 0, 1)])
    voxels = (np.linalg.inv(like.affine) @ frame.affine(frame.normal) @ corners.T)[:3].T
    first = voxels[0].round().astype(int)
    expected = first + np.array([(0, 0, 0), (columns - 1, 0, 0), (0, rows - 1, 0)])
    if np.abs(voxels - expected).max() > OFF_GRID:
        raise ValueError(f"{frame} does not lie on the voxels of {like.path}; give the series that it was made from")
    if (first < 0).any() or (first + np.array([columns, rows, 1]) > whole).any():
        raise ValueError(f"{frame} lies outside of {like.path}; give the series that it was made from")
    x, y, z = first.tolist()
    return slice(x, x + columns), slice(y, y + rows), z


def _segment(path: Path, data: Any, frame: int) -> int:
    """The segment that a frame of a BINARY segmentation shows."""
    for groups in (data.PerFrameFunctionalGroupsSequence[frame], *data.get("SharedFunctionalGroupsSequence", [])):
        found = groups.get("SegmentIdentificationSequence")
        if found:
            return int(found[0].ReferencedSegmentNumber)
    raise ValueError(f"{path} does not say which segment its frame {frame + 1} shows; get the file again")


def _table(path: Path, numbers: Sequence[int], values: Sequence[int] | None) -> np.ndarray:
    """Segment number -> label."""
    values = numbers if values is None else values
    if len(numbers) != len(values):
        raise ValueError(f"{path} has {len(numbers)} segments, and {len(values)} values were given; give one for each")
    table = np.zeros(2**16, np.uint16)
    table[list(numbers)] = values
    return table
