"""NIfTI, DICOM and DICOM-SEG."""

import gzip
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
from numpy.random import Generator
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from densevit.volumes.volume import open_volume, read_label_volume
from tools.fuzzing.kind import Sample
from tools.fuzzing.mutations import EXTREMES, mutate_bytes

SIZE = (6, 5, 4)  # X, Y, Z
VALUES = (0, 2, 7)
AFFINE = np.array([[1.5, 0, 0, -20], [0, 1.5, 0, 30], [0, 0, 2.5, 100], [0, 0, 0, 1.0]])


def nifti(folder: Path) -> list[Sample]:
    """Scans and label maps, one file or compressed, of several types and with channels."""
    rng = np.random.default_rng(0)
    scan = rng.normal(0, 300, SIZE)
    label = rng.choice(VALUES, SIZE)
    made = {
        "scan.nii": scan.astype(np.int16),
        "scan.nii.gz": scan.astype(np.float32),
        "channels.nii.gz": np.stack([scan, -scan], -1).astype(np.int16),
        "label.nii": label.astype(np.uint8),
        "label.nii.gz": label.astype(np.int32),
    }
    samples = []
    for name, values in made.items():
        path = folder / name
        image = nibabel.Nifti1Image(values, AFFINE)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, path)
        packed = name.endswith(".gz")
        samples.append(
            Sample(
                path=path,
                read=lambda path=path: _read_label(path) if path.name.startswith("label") else _read_scan(path),
                checksum=packed,
                rewrite=_unpacked if packed else None,
            )
        )
    return samples


def _unpacked(content: bytes, rng: Generator) -> bytes:
    return gzip.compress(mutate_bytes(gzip.decompress(content), rng), 1)


def _read_scan(path: Path) -> Any:
    volume = open_volume(path)
    return volume.image, volume.grid.affine


def _read_label(path: Path) -> Any:
    label, grid = read_label_volume(path)
    return label, grid.affine


def dicom(folder: Path) -> list[Sample]:
    """A series of four slices, each of which is damaged in turn, and one file of several frames."""
    many = _series(folder / "series")
    one = _write_frames(folder / "frames" / "many.dcm", folder / "series")
    return [
        *(Sample(path=path, read=lambda: _read_scan(folder / "series"), rewrite=_elements) for path in many),
        Sample(path=one, read=lambda: _read_scan(one), rewrite=_elements),
    ]


def _series(folder: Path) -> list[Path]:
    folder.mkdir(parents=True)
    uids = dict(StudyInstanceUID="1.2.3.1", SeriesInstanceUID="1.2.3.2", FrameOfReferenceUID="1.2.3.3")
    return [_write_slice(folder / f"{index}.dcm", index, uids) for index in range(4)]


def _write_slice(path: Path, index: int, uids: dict[str, str]) -> Path:
    data = pydicom.Dataset()
    data.file_meta = pydicom.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, f"1.2.3.4.{index}"
    data.Modality, data.SeriesNumber, data.InstanceNumber = "CT", 3, index + 1
    data.SeriesDescription, data.PatientID, data.ImageType = "made", "1", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.PatientName, data.StudyID = "A^B", "1"
    data.PixelSpacing, data.SliceThickness = [1.5, 1.2], 2.5
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-20, 30, 100 + 2.5 * index]
    data.RescaleSlope, data.RescaleIntercept, data.RescaleType = 1, -1024, "HU"
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 5, 6, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
    data.PixelData = np.random.default_rng(index).integers(0, 2000, (5, 6), np.int16).tobytes()
    for name, value in uids.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def _write_frames(path: Path, series: Path) -> Path:
    """One enhanced file of the same slices."""
    slices = [pydicom.dcmread(file) for file in sorted(series.iterdir())]
    data = slices[0].copy()
    data.SOPClassUID, data.SOPInstanceUID = pydicom.uid.EnhancedCTImageStorage, generate_uid(entropy_srcs=["frames"])
    shared, data.PerFrameFunctionalGroupsSequence = pydicom.Dataset(), []
    shared.PixelMeasuresSequence = [_part(data, "PixelSpacing", "SliceThickness")]
    shared.PlaneOrientationSequence = [_part(data, "ImageOrientationPatient")]
    shared.PixelValueTransformationSequence = [_part(data, "RescaleSlope", "RescaleIntercept", "RescaleType")]
    data.SharedFunctionalGroupsSequence = [shared]
    for each in slices:
        frame = pydicom.Dataset()
        frame.PlanePositionSequence = [_part(each, "ImagePositionPatient")]
        data.PerFrameFunctionalGroupsSequence.append(frame)
    for name in ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope", "RescaleIntercept"):
        delattr(data, name)
    data.NumberOfFrames = len(slices)
    data.PixelData = b"".join(each.PixelData for each in slices)
    path.parent.mkdir(parents=True)
    data.save_as(path, enforce_file_format=True)
    return path


def _part(data: pydicom.Dataset, *names: str) -> pydicom.Dataset:
    part = pydicom.Dataset()
    for name in names:
        setattr(part, name, getattr(data, name))
    return part


def _elements(content: bytes, rng: Generator) -> bytes:
    """One to three elements, of all levels, have another value or are missing; the file is written as it should be."""
    data = pydicom.dcmread(BytesIO(content))
    for _ in range(int(rng.integers(1, 4))):
        holders = [data, *(item for each in data.iterall() if each.VR == "SQ" for item in each.value)]
        holder = holders[int(rng.integers(len(holders)))]
        tags = list(holder.keys())
        if not tags:
            continue
        tag = tags[int(rng.integers(len(tags)))]
        if rng.random() < 0.25:
            del holder[tag]
            continue
        value = EXTREMES[int(rng.integers(len(EXTREMES)))]
        try:
            holder[tag].value = mutate_bytes(holder[tag].value, rng) if holder[tag].VR in ("OB", "OW") else value
        except (ValueError, TypeError, OverflowError, AttributeError):
            continue  # which pydicom would not write
    written = BytesIO()
    try:
        pydicom.dcmwrite(written, data)
    except Exception:  # a value that pydicom takes and cannot write
        return mutate_bytes(content, rng)
    return written.getvalue()


def seg(folder: Path) -> list[Sample]:
    """A binary and a LABELMAP segmentation of a series."""
    from densevit.volumes.formats.dicom_seg import write_dicom_seg

    _series(folder / "series")
    volume = open_volume(folder / "series")
    label = np.random.default_rng(0).choice(VALUES, volume.grid.size).astype(np.uint8)
    samples = []
    for kind in ("BINARY", "LABELMAP"):
        path = folder / kind / "seg.dcm"
        write_dicom_seg(label, volume, path, classes=["background", "a", "b"], values=VALUES, kind=kind)
        samples.append(
            Sample(
                path=path,
                read=lambda path=path: read_label_volume(path, like=volume)[0],
                rewrite=_elements,
                allowed=frozenset(range(3)),
            )
        )
    return samples
