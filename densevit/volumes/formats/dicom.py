"""DICOM series of CT, MR and PET to volumes: one file a slice, or enhanced files of many frames."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.dicom_file import READERS, naming, quiet_pydicom, read_dataset, transformation
from densevit.volumes.formats.dicom_series import find_series
from densevit.volumes.formats.dicom_slices import Slice, slices_of, stack_slices
from densevit.volumes.formats.stored_volume import ReadOptions, StoredVolume, check_header
from densevit.volumes.modality import modality_of_file

NEEDS_SCALE = ("CT", "PT")  # modalities whose files must say how stored values become their unit
BELONGING = ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "FrameOfReferenceUID")


@dataclass(frozen=True)
class DicomSource:
    """The slices (file, frame or None) of a volume in the order of its last own axis, their series, and the elements
    by which a DICOM-SEG belongs to them (patient, study, frame of reference), each with the values that the files have.
    """

    series: str
    slices: tuple[tuple[Path, int | None], ...]
    origin: tuple[tuple[str, frozenset[str]], ...] = ()


@quiet_pydicom()
def open_dicom(path: Path, *, options: ReadOptions) -> StoredVolume:
    """Find the series of a folder, or of a file, and put its slices in order; pixels are read by `load`.

    ValueError, with the file's name, for several series, slices that are no regular stack, and files without a place.
    """
    series = find_series(path, options=options)
    slices = []
    for header in series.headers:
        with naming(header.path):
            slices += slices_of(header)
    modality = _check_scales(path, slices, modality=series.modality, stored_values=options.stored_values)
    slices, affine = stack_slices(path, slices, options=options)
    rows, columns = slices[0].shape
    shape = (columns, rows, len(slices))
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    origin = tuple((name, frozenset(str(h.get(name, "")) for h in series.headers)) for name in BELONGING)
    source = DicomSource(series.uid, tuple((each.path, each.frame) for each in slices), origin)
    return StoredVolume(path, shape, affine, lambda: _load(slices, shape), source, modality)


def _check_scales(path: Path, slices: Sequence[Slice], *, modality: str, stored_values: bool) -> str:
    """The modality and unit of a series from what its slices say.

    ValueError where some slices say how their values become the unit and others do not, where they lead to several
    units, and for a CT or PET in which none says it, unless its `stored_values` are wanted.
    """
    unit = "Hounsfield units" if modality == "CT" else "the unit of its modality"
    named, silent = ([each for each in slices if each.scale.is_said is said] for said in (True, False))
    trivial = modality not in NEEDS_SCALE and all(each.scale.changes_nothing for each in slices)
    if named and silent and not trivial:
        raise ValueError(
            f"{silent[0]} does not say how its values become {unit}, as {named[0]} does by RescaleSlope and "
            f"RescaleIntercept: {len(silent)} of {len(slices)} slices of {path} lack them; get those again"
        )
    if silent and modality in NEEDS_SCALE and not stored_values:
        raise ValueError(
            f"{path} does not say how its stored values become {unit}: no slice has RescaleSlope and "
            "RescaleIntercept; get the series again, or take the values for what they are with stored_values=True"
        )
    kinds = {modality_of_file(modality, each.scale.unit): each for each in slices}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise ValueError(f"{first} is {one}, and {second} of the same series {other}; keep one of them in {path}")
    return next(iter(kinds))


@quiet_pydicom()
def _load(slices: list[Slice], shape: tuple[int, ...]) -> np.ndarray:
    """Float32 (X, Y, Z) in the unit of the series: Hounsfield for CT."""
    values = np.empty(shape[::-1], np.float32)
    places: dict[Path, list[tuple[int, int]]] = {}
    for index, each in enumerate(slices):
        places.setdefault(each.path, []).append((index, each.frame or 0))

    def read(path: Path) -> None:
        indices, frames = zip(*places[path], strict=True)
        for index, pixels in zip(indices, _read_frames(path, frames, shape), strict=True):
            values[index] = pixels

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, places))
    return values.T


@quiet_pydicom()
def _read_frames(path: Path, frames: Sequence[int], shape: tuple[int, ...]) -> list[np.ndarray]:
    """The frames (rows, columns) of a file, rescaled to the modality's own unit by slope and intercept or a table."""
    from pydicom.pixels import apply_modality_lut

    data = read_dataset(path, pixels=True)
    try:
        stored = data.pixel_array
    except Exception as error:  # decoders of many kinds, each with errors of its own
        raise ValueError(_undecoded(path, data, error)) from error
    _check_length(path, data, stored)
    stored = stored.reshape(-1, *stored.shape[-2:])
    if stored.shape[1:] != shape[1::-1] or len(stored) <= max(frames):
        raise ValueError(f"{path} is damaged: its pixels are {stored.shape}, unlike its header; get the file again")
    with naming(path):
        values = [apply_modality_lut(stored[frame], transformation(data, frame)) for frame in frames]
    if not all(np.isfinite(each).all() for each in values):
        raise ValueError(f"{path} rescales its values to what is no finite number; correct the file")
    return values


def _check_length(path: Path, data: Any, stored: np.ndarray) -> None:
    """ValueError for a row or more of uncompressed pixels beyond what the header says, which pydicom passes over."""
    if "PixelData" in data and not data.file_meta.TransferSyntaxUID.is_encapsulated:
        needed, there = stored.size * int(data.BitsAllocated) // 8, len(data.PixelData)
        if there - needed >= int(data.Columns) * int(data.BitsAllocated) // 8:
            raise ValueError(
                f"{path} is damaged: {there} bytes of pixels are there, and its header announces {needed}; get it again"
            )


def _undecoded(path: Path, data: Any, error: Exception) -> str:
    """Why the pixels of a file could not be had."""
    if "PixelData" not in data and "FloatPixelData" not in data and "DoubleFloatPixelData" not in data:
        return f"{path} is damaged: it ends before its pixels; get the file again"
    text = " ".join(str(error).split())
    syntax = data.file_meta.get("TransferSyntaxUID")
    if "missing dependencies" in text or "no available" in text.lower():
        return f"{path} is compressed as {syntax.name}, for which no decoder is installed; pip install python-gdcm"
    return f"{path} is damaged: its pixels cannot be read ({text[:200]}); get the file again"
