"""One DICOM file: what its header says, and every way in which it cannot be read as a sentence that names it."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from io import BufferedReader, FileIO
from pathlib import Path
from typing import Any

import numpy as np

from densevit.environment import ignore_warnings
from densevit.volumes.paths import looks_like_dicom

logger = logging.getLogger("densevit")
MANY = 2**16  # bytes that may be set aside before it is known whether they are there
READERS = 8  # threads: they wait for the disk more than they compute
DEFLATED = b"1.2.840.10008.1.2.1.99"
TRANSFORMATION = "PixelValueTransformationSequence"
TAGS = (
    "SpecificCharacterSet", "PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "SOPClassUID",
    "SOPInstanceUID", "ImageType", "Modality", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription",
    "InstanceNumber", "FrameOfReferenceUID", "RescaleSlope", "RescaleIntercept", "RescaleType", "ModalityLUTSequence",
    "Units", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns", "NumberOfFrames", "PixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "AcquisitionNumber", "AcquisitionTime",
    "ContentTime", "TriggerTime", "TemporalPositionIdentifier", "EchoTime", "DiffusionBValue",
    "DirectoryRecordSequence",
)  # fmt: skip
ORIGIN = ("PatientID", "PatientName", "PatientBirthDate", "Modality")
NO_SCANS = (  # modalities
    "SEG", "RTSTRUCT", "RTPLAN", "RTDOSE", "SR", "PR", "KO", "REG", "DOC", "FID", "RWV", "AU", "ECG",
)  # fmt: skip


@dataclass(frozen=True)
class Header:
    """The elements of a DICOM file that say what it is and where it lies: a pydicom Dataset without pixels."""

    path: Path
    data: Any

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an element, or `default` where there is none; ValueError for a value against the standard."""
        with naming(self.path):
            value = self.data.get(name)
        return default if value is None or value == "" or value == [] else value

    @property
    def series(self) -> str:
        """Its SeriesInstanceUID; programs that take names out of files leave it empty."""
        return str(self.get("SeriesInstanceUID", "without UID"))

    @property
    def origin(self) -> dict[str, str]:
        """Whose image it is, and what took it; "" for what the file does not say."""
        return {name: str(self.get(name, "")) for name in ORIGIN}

    @property
    def frames(self) -> int:
        with naming(self.path):
            frames = int(self.get("NumberOfFrames", 1))
        if frames < 1:
            raise ValueError(f"{self.path} says that it holds {frames} frames, and it must be 1 at least; get it again")
        return frames

    @property
    def is_image(self) -> bool:
        """Whether it holds a picture, by its class: a file that was cut off says no more."""
        kind = self.get("SOPClassUID") or self.data.file_meta.get("MediaStorageSOPClassUID", "")
        is_picture = "Rows" in self.data or "Image Storage" in getattr(kind, "name", "")
        return is_picture and str(self.get("Modality")) not in NO_SCANS

    def scale(self, frame: int | None) -> "Scale":
        """How the values of a frame become a unit; ValueError for half of a scale, or one that is none."""
        data = transformation(self.data, frame)
        said = [data.get(name) for name in ("RescaleSlope", "RescaleIntercept")]
        slope, intercept = (None if value in (None, "") else float(value) for value in said)
        usable = slope != 0 and np.isfinite([slope or 1.0, intercept or 0.0]).all()
        if (slope is None) != (intercept is None) or not usable:
            raise ValueError(f"{self.path} rescales its values by {slope} and {intercept}; get it again, or correct it")
        table = data.get("ModalityLUTSequence") or []
        unit = data.get("RescaleType") or (table[0].get("ModalityLUTType") if table else None)
        if str(self.get("Modality")) == "PT":
            unit = self.get("Units")
        return Scale(slope, intercept, bool(table), str(unit or ""))

    @property
    def is_localizer(self) -> bool:
        return "LOCALIZER" in str(self.get("ImageType", "")).upper()

    @property
    def has_place(self) -> bool:
        return "ImagePositionPatient" in self.data or "PerFrameFunctionalGroupsSequence" in self.data


@dataclass(frozen=True)
class Scale:
    """What a slice says of its values: slope and intercept, or a table (`has_table`), and the unit they lead to."""

    slope: float | None = None
    intercept: float | None = None
    has_table: bool = False
    unit: str = ""

    @property
    def is_said(self) -> bool:
        return self.has_table or self.slope is not None

    @property
    def changes_nothing(self) -> bool:
        return not self.has_table and self.slope in (None, 1.0) and self.intercept in (None, 0.0)


def transformation(data: Any, frame: int | None) -> Any:
    """What holds the scale of a frame: its own functional group, that of all frames, or the file itself."""
    groups = [data]
    for name, index in (("SharedFunctionalGroupsSequence", 0), ("PerFrameFunctionalGroupsSequence", frame)):
        found = None if index is None else data.get(name)
        if found and index < len(found) and found[index].get(TRANSFORMATION):
            groups.append(found[index].get(TRANSFORMATION)[0])
    return groups[-1]


def quiet_pydicom() -> AbstractContextManager:
    """Without pydicom's warnings of values against the standard: those that are used are checked here, in sentences."""
    return ignore_warnings(module=r"(pydicom|highdicom)\b")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Each error that pydicom has for what it cannot read becomes a ValueError of one sentence with the file's name.

    What the system says of the file, such as that it may not be read, stays as it is.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # some of pydicom's own are nothing more special
        text = " ".join(str(error).split())
        if (str(path) in text and isinstance(error, ValueError)) or (isinstance(error, OSError) and error.errno):
            raise
        raise ValueError(f"{path} is damaged ({text[:200]}); get the file again") from error


def read_headers(paths: Iterable[Path]) -> list[Header]:
    """The headers of those files that are DICOM, in the order of names; DICOMDIR and others are left out.

    ValueError for a file that is called DICOM by its ending, or begins so, and cannot be read.
    """
    files: Sequence[Path] = sorted(path for path in paths if path.is_file() and not path.name.startswith("."))
    dicom = [path for path in files if path.name.upper() != "DICOMDIR" and looks_like_dicom(path)]
    if dicom and len(dicom) < len(files):
        logger.info("%s: %d files that are no DICOM are left out", dicom[0].parent, len(files) - len(dicom))
    with ThreadPoolExecutor(READERS) as pool:
        headers = list(pool.map(read_header, dicom))
    return [header for header in headers if "DirectoryRecordSequence" not in header.data]


@quiet_pydicom()
def read_header(path: Path) -> Header:
    """What `TAGS` names of one file; ValueError with its name if it cannot be read."""
    header = Header(path, read_dataset(path, specific_tags=TAGS))
    if header.is_image and "Rows" not in header.data:
        raise ValueError(f"{path} is damaged: it ends before its pixels; get the file again")
    return header


@quiet_pydicom()
def is_dicom_image(path: Path, *, modality: str | None = None) -> bool:
    """Whether a DICOM file holds a picture, of that modality if one is given; ValueError for an unreadable one."""
    header = read_header(path)
    return header.is_image and modality in (None, header.origin["Modality"])


def read_dataset(path: Path, *, pixels: bool = False, specific_tags: Sequence[str] | None = None) -> Any:
    """A file as a pydicom Dataset, without its pixels unless they are asked for; ValueError with its name."""
    from pydicom import dcmread

    with naming(path):
        with _Bounded(FileIO(path)) as file:
            start = file.peek(2048)[:2048]
            if DEFLATED in start:
                raise ValueError(
                    f"{path} is deflated as a whole, which is not read; save it in another transfer syntax"
                )
            force = start[128:132] != b"DICM"
            data = dcmread(file, stop_before_pixels=not pixels, force=force, specific_tags=specific_tags)
        if "SOPClassUID" not in data and "MediaStorageSOPClassUID" not in data.file_meta:
            raise ValueError(f"{path} is no DICOM file, or a damaged one; get it again, or take it out of the folder")
    return data


class _Bounded(BufferedReader):
    """A file of which no more is asked for than is there: an element may say that it has 4 GB."""

    def read(self, size: int | None = -1) -> bytes:
        if size is not None and size > MANY:
            size = max(min(size, os.fstat(self.fileno()).st_size - self.tell()), 0)
        return super().read(size)
