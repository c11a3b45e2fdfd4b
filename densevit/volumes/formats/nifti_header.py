"""What the header of a NIfTI file says as it is stored: nibabel corrects some of it without asking."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.grid import times

MOST_EXTENSIONS = 64 * 2**20  # bytes between header and values, or after them
GZIP = b"\x1f\x8b"
OTHER_UNITS = {1: "metres", 3: "micrometres"}  # of xyzt_units; 0 says nothing, and 2 is millimetres


@contextmanager
def quiet_nibabel() -> Iterator[None]:
    """Without what nibabel tells stderr of the headers that it corrects, in this thread."""
    import nibabel

    here = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger = nibabel.imageglobals.logger
    logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(from_elsewhere)


def check_name(path: Path) -> None:
    """ValueError for an empty file, and for one that is compressed, or is not, unlike what its name says."""
    with open(path, "rb") as file:
        start = file.read(2)
    if not start:
        raise ValueError("it is empty")
    compressed = start == GZIP
    if compressed != path.name.lower().endswith(".gz"):
        isnt, ending = ("is", ".nii.gz") if compressed else ("is not", ".nii")
        raise ValueError(f"it {isnt} compressed, unlike what its name says: rename it to {ending} if it is NIfTI")


def read_raw_header(path: Path) -> Any:
    """The nibabel header, unchecked; ValueError for a file without one.

    Also for one that claims extensions of a size that no sound file has: nibabel reads them at once.
    """
    import nibabel

    with nibabel.openers.ImageOpener(path) as file:
        start = file.read(nibabel.Nifti2Header.sizeof_hdr + 4)
    kinds = [kind for kind in (nibabel.Nifti1Header, nibabel.Nifti2Header) if kind.may_contain_header(start)]
    if not kinds:
        raise ValueError("it does not begin with the header of one")
    raw = kinds[0](start[: kinds[0].sizeof_hdr], check=False)
    offset = float(raw["vox_offset"])
    if not 0 <= offset <= MOST_EXTENSIONS:
        raise ValueError(f"its header says that values start at byte {offset:.4g}")
    return raw


def check_lengths(path: Path, raw: Any, *, geometry: str | None) -> None:
    """ValueError for lengths in other units than millimetres, and for voxel sizes that are none, unless the sform,
    which goes without them, is chosen by `geometry`.
    """
    unit = OTHER_UNITS.get(int(raw["xyzt_units"]) & 7)
    if unit:
        raise ValueError(
            f"{path} says that its lengths are {unit}, and millimetres are expected; convert it, or correct its "
            "xyzt_units"
        )
    zooms = np.asarray(raw["pixdim"][1:4], float)
    has_sform = int(raw["sform_code"]) > 0
    if not (np.isfinite(zooms) & (zooms > 0)).all() and not (has_sform and geometry == "sform"):
        way = "choose geometry='sform' if its sform holds, or " * has_sform
        raise ValueError(
            f"{path} has the voxel sizes {times(zooms.round(4))} mm, and they must be positive; {way}correct the file"
        )
