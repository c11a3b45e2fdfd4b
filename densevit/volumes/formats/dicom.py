"""DICOM series of CT, MR and PET to volumes: one file a slice, or enhanced files of many frames."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.dicom_file import READERS, naming, quiet_pydicom, read_dataset
from densevit.volumes.formats.dicom_series import find_series
from densevit.volumes.formats.dicom_slices import Slice, slices_of, stack_slices
from densevit.volumes.formats.dicom_units import check_scales, rescale
from densevit.volumes.formats.stored_volume import StoredVolume, check_header
from densevit.volumes.read_options import REFUSING, ReadOptions

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
def open_dicom(path: Path, *, options: ReadOptions = REFUSING) -> StoredVolume:
    """Find the series of a folder, or of a file, and put its slices in order; pixels are read by `load`.

    ValueError, with the file's name, for several series, slices that are no regular stack, and files without a place.
    """
    series = find_series(path, options=options)
    slices = []
    for header in series.headers:
        with naming(header.path):
            slices += slices_of(header)
    scales = [(str(each), each.scale) for each in slices]
    modality = check_scales(path, scales, modality=series.modality, stored_values=options.stored_values)
    slices, affine = stack_slices(path, slices, options=options)
    rows, columns = slices[0].shape
    shape = (columns, rows, len(slices))
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    origin = tuple((name, frozenset(str(h.get(name, "")) for h in series.headers)) for name in BELONGING)
    source = DicomSource(series.uid, tuple((each.path, each.frame) for each in slices), origin)
    return StoredVolume(path, shape, affine, lambda: _load(slices, shape), source, modality)


@quiet_pydicom()
def _load(slices: list[Slice], shape: tuple[int, ...]) -> np.ndarray:
    """Float32 (X, Y, Z) in the unit of the series: Hounsfield for CT."""
    values = np.empty(shape[::-1], np.float32)
    places: dict[Path, list[tuple[int, int]]] = {}
    for index, each in enumerate(slices):
        places.setdefault(each.path, []).append((index, each.frame or 0))

    def read(path: Path) -> None:
        for (index, _), pixels in zip(
            places[path], _read_frames(path, [f for _, f in places[path]], shape), strict=True
        ):
            values[index] = pixels

    with ThreadPoolExecutor(READERS) as pool:
        list(pool.map(read, places))
    return values.T


@quiet_pydicom()
def _read_frames(path: Path, frames: list[int], shape: tuple[int, ...]) -> list[np.ndarray]:
    """The frames (rows, columns) of a file, rescaled."""
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
        return [rescale(stored[frame], data, frame, path) for frame in frames]


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
