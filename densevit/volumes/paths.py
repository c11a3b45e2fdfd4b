"""Which paths are scans, and what a scan is called. Paths alone: no file is opened but to see what an odd one is."""

import os
from collections.abc import Iterator
from pathlib import Path

NIFTI_ENDINGS = (".nii.gz", ".nii")
NRRD_ENDINGS = (".seg.nrrd", ".nrrd", ".nhdr")
METAIMAGE_ENDINGS = (".mha", ".mhd")
DICOM_ENDINGS = (".dcm", ".dicom", ".ima")
FILE_ENDINGS = (*NIFTI_ENDINGS, *NRRD_ENDINGS, *METAIMAGE_ENDINGS)
READABLE = f"{', '.join(e for e in FILE_ENDINGS if e != '.seg.nrrd')}, a DICOM file, or a folder of one DICOM series"


def kind_of(path: Path) -> str:
    """ "nifti", "nrrd", "metaimage" or "dicom"; FileNotFoundError for what is not there, ValueError for other files."""
    if path.is_dir():
        return "dicom"
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; check the path")
    name = path.name.lower()
    for kind, endings in (("nifti", NIFTI_ENDINGS), ("nrrd", NRRD_ENDINGS), ("metaimage", METAIMAGE_ENDINGS)):
        if name.endswith(endings):
            return kind
    if looks_like_dicom(path):
        return "dicom"
    raise ValueError(f"{path} is no scan that can be read; give {READABLE}")


def looks_like_dicom(path: Path) -> bool:
    """Whether a file starts as DICOM does, with the 132 bytes before the data set or without, or is called so."""
    with open(path, "rb") as file:
        start = file.read(132)
    return start[128:] == b"DICM" or start[:2] in (b"\x02\0", b"\x08\0") or path.suffix.lower() in DICOM_ENDINGS


def case_name(path: str | Path) -> str:
    """`scan_01.nii.gz` -> `scan_01`; of a folder, its name."""
    path = Path(path)
    name = path.resolve().name if path.name in ("", "..") else path.name
    if path.is_dir():
        return name
    lower = name.lower()
    return next((name[: -len(end)] for end in (*FILE_ENDINGS, *DICOM_ENDINGS) if lower.endswith(end)), name)


def walk_files(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those in it, sorted, without hidden ones; linked folders are not entered."""
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and (Path(root) / name).is_file():
                yield Path(root) / name
