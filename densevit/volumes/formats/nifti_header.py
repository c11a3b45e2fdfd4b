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
XFORM_CODES = tuple(range(6))  # of sform_code and qform_code: 0 says nothing
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


def check_storage(path: Path, raw: Any) -> None:
    """ValueError for a header that says two things of how values are stored, or scales them by what is no number."""
    said, needed = int(raw["bitpix"]), raw.get_data_dtype().itemsize * 8
    if said not in (0, needed):
        raise ValueError(
            f"{path} says that a voxel has {said} bits, and values of its type {raw.get_data_dtype()} have {needed}; "
            "one of them is wrong: get the file again"
        )
    slope, intercept = (float(raw[name]) for name in ("scl_slope", "scl_inter"))
    unscaled = slope == 0 or (np.isnan(slope) and np.isnan(intercept))
    if not unscaled and not np.isfinite([slope, intercept]).all():
        raise ValueError(f"{path} scales its values by {slope} and {intercept}; get the file again, or correct it")


def check_codes(path: Path, raw: Any, *, geometry: str | None) -> None:
    """ValueError for a header whose codes would turn left and right, unless `geometry` chooses a form.

    nibabel goes without a form whose code the standard does not have, takes an odd pixdim[0] for 1, and where both
    codes are 0 it takes the first axis to run to the left, whatever the forms hold.
    """
    codes = {form: int(raw[f"{form}_code"]) for form in ("sform", "qform")}
    asked = tuple(codes) if geometry is None else (geometry,)
    wrong = [f"{form}_code {codes[form]}" for form in asked if geometry is None and codes[form] not in XFORM_CODES]
    factor = float(raw["pixdim"][0])
    if "qform" in asked and codes["qform"] > 0 and factor not in (-1.0, 0.0, 1.0):
        wrong.append(f"pixdim[0] {factor:.4g}")
    if not wrong and geometry is None and not any(codes.values()) and _holds_a_form(raw):
        wrong.append("sform_code 0 and the qform_code 0, beside numbers of a form")
    if wrong:
        ways = [f"geometry='{form}'" for form, code in codes.items() if form == "sform" or code in XFORM_CODES[1:]]
        raise ValueError(
            f"{path} has the {wrong[0]}, so that which side is left is not known; choose {' or '.join(ways)} if that "
            "holds, or correct the file"
        )


def _holds_a_form(raw: Any) -> bool:
    """Whether there is a direction or a place in the fields of sform and qform."""
    rows = [np.asarray(raw[name], float) for name in ("srow_x", "srow_y", "srow_z")]
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    return bool(np.any(rows) or any(float(raw[name]) for name in names))


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
