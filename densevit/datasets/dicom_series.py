"""The DICOM files of a folder, grouped by series, and the choice of one."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from densevit.datasets.read_options import ReadOptions
from densevit.datasets.volume_paths import looks_like_dicom, walk_files

logger = logging.getLogger("densevit")
READERS = 8  # threads: they wait for the disk more than they compute
DEFLATED = b"1.2.840.10008.1.2.1.99"
TAGS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "ImageType",
    "Modality",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDescription",
    "InstanceNumber",
    "FrameOfReferenceUID",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "AcquisitionNumber",
    "AcquisitionTime",
    "ContentTime",
    "TriggerTime",
    "TemporalPositionIdentifier",
    "EchoTime",
    "DiffusionBValue",
)
NO_SCANS = (  # modalities
    "SEG",
    "RTSTRUCT",
    "RTPLAN",
    "RTDOSE",
    "SR",
    "PR",
    "KO",
    "REG",
    "DOC",
    "FID",
    "RWV",
    "AU",
    "ECG",
)

BAD_VALUE = (ValueError, TypeError, OverflowError, KeyError, AttributeError, NotImplementedError)


@dataclass(frozen=True)
class Header:
    """The elements of a DICOM file that say what it is and where it lies: a pydicom Dataset without pixels."""

    path: Path
    data: Any

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an element, or `default` where there is none; ValueError for a value against the standard."""
        try:
            value = self.data.get(name)
        except BAD_VALUE as error:
            raise ValueError(f"{self.path} has a {name} that is none ({error}); correct the file") from error
        return default if value is None or value == "" or value == [] else value

    @property
    def is_image(self) -> bool:
        """Whether it holds a picture, by its class: a file that was cut off says no more."""
        kind = self.data.get("SOPClassUID") or self.data.file_meta.get("MediaStorageSOPClassUID", "")
        is_picture = "Rows" in self.data or "Image Storage" in getattr(kind, "name", "")
        return is_picture and str(self.get("Modality")) not in NO_SCANS

    @property
    def is_localizer(self) -> bool:
        return "LOCALIZER" in [str(part).upper() for part in _listed(self.get("ImageType", []))]

    @property
    def has_place(self) -> bool:
        return "ImagePositionPatient" in self.data or "PerFrameFunctionalGroupsSequence" in self.data


@dataclass(frozen=True)
class Series:
    """The files of one SeriesInstanceUID, in the order of their names."""

    uid: str
    headers: tuple[Header, ...]

    @property
    def number(self) -> str:
        return str(self.headers[0].get("SeriesNumber", "none"))

    def __str__(self) -> str:
        about = [self.headers[0].get("Modality"), self.headers[0].get("SeriesDescription")]
        images = sum(int(header.get("NumberOfFrames", 1)) for header in self.headers)
        return f"number {self.number} ({', '.join(str(a) for a in about if a)}; {images} images; {self.uid})"


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Without pydicom's warnings of values against the standard: those that are used are checked here, in sentences."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pydicom|highdicom)\b")
        yield


def find_series(path: Path, *, options: ReadOptions) -> Series:
    """The series of a file, or the one of a folder; ValueError, listing them, for a folder of several."""
    if path.is_file():
        header = read_header(path)
        if not header.is_image:
            raise ValueError(
                f"{path} is {header.get('Modality', 'DICOM')} without an image; give a CT, MR or PET series"
            )
        if int(header.get("NumberOfFrames", 1)) > 1:
            return Series(str(header.get("SeriesInstanceUID")), (header,))
        uid = header.get("SeriesInstanceUID")
        headers = [other for other in read_headers(path.parent.iterdir()) if other.get("SeriesInstanceUID") == uid]
        return _without_localizers(Series(str(uid), tuple(headers)))
    headers = read_headers(walk_files(path))
    if not headers:
        raise ValueError(f"{path} holds no DICOM file; give a folder of one series")
    return _without_localizers(choose_series(path, headers, wanted=options.series))


def choose_series(path: Path, headers: Iterable[Header], *, wanted: str | None) -> Series:
    """The one image series among headers, or the one that is `wanted` by its UID or its number."""
    groups: dict[str, list[Header]] = {}
    others = set()
    for header in headers:
        if header.is_image:
            groups.setdefault(str(header.get("SeriesInstanceUID", "without UID")), []).append(header)
        else:
            others.add(str(header.get("Modality", "unknown")))
    found = [Series(uid, tuple(group)) for uid, group in groups.items()]
    if not found:
        raise ValueError(f"{path} holds no image series, only {', '.join(sorted(others))}; give a CT, MR or PET series")
    listed = "; ".join(f"series {each}" for each in found)
    if wanted is not None:
        chosen = [each for each in found if str(wanted) in (each.uid, each.number)]
        if len(chosen) != 1:
            raise ValueError(f"{path} holds {len(chosen)} series {wanted!r}; choose the UID of one of these: {listed}")
        return chosen[0]
    scans = [each for each in found if any(h.has_place and not h.is_localizer for h in each.headers)] or found
    if len(scans) > 1:
        listed = "; ".join(f"series {each}" for each in scans)
        raise ValueError(
            f"{path} holds {len(scans)} image series: {listed}; choose one by its number or UID, "
            f"such as series={scans[0].number if len({s.number for s in scans}) == len(scans) else scans[0].uid!r}"
        )
    if len(found) > 1:
        logger.info("%s: %s is read; localizers and pictures without a place are left out", path, scans[0])
    return scans[0]


def _without_localizers(series: Series) -> Series:
    """Leave out the files that call themselves localizers, unless all do."""
    kept = tuple(header for header in series.headers if not header.is_localizer)
    if kept and len(kept) < len(series.headers):
        logger.warning("%s: %d localizers are left out", kept[0].path.parent, len(series.headers) - len(kept))
    return Series(series.uid, kept or series.headers)


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


def read_header(path: Path) -> Header:
    """What `TAGS` names of one file; ValueError with its name if it cannot be read."""
    header = Header(path, read_dataset(path, specific_tags=[*TAGS, "DirectoryRecordSequence"]))
    if header.is_image and not ("Rows" in header.data and "SeriesInstanceUID" in header.data):
        raise ValueError(f"{path} is damaged: it ends before its pixels; get the file again")
    return header


def read_dataset(path: Path, *, pixels: bool = False, specific_tags: Sequence[str] | None = None) -> Any:
    """A file as a pydicom Dataset, without its pixels unless they are asked for; ValueError with its name."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with open(path, "rb") as file:
            start = file.read(2048)
        if DEFLATED in start:
            raise ValueError("its data set is deflated, which is not read")
        data = dcmread(
            path, stop_before_pixels=not pixels, force=start[128:132] != b"DICM", specific_tags=specific_tags
        )
    except (InvalidDicomError, OSError, EOFError, *BAD_VALUE) as error:
        raise ValueError(f"{path} cannot be read as DICOM ({error}); get the file again") from error
    if "SOPClassUID" not in data and "MediaStorageSOPClassUID" not in data.file_meta:
        raise ValueError(
            f"{path} cannot be read as DICOM (it does not say what it is); get the file again, or remove it"
        )
    return data


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)
