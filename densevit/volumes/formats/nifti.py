"""NIfTI files (.nii, .nii.gz, NIfTI-1 and NIfTI-2), and where they place their voxels.

nibabel corrects some of what a header says without asking, so that it is also looked at as it is stored (`raw`).
"""

import gzip
import logging
import math
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.stored_volume import (
    ReadOptions,
    StoredVolume,
    check_header,
    check_ratio,
    check_shape,
    raise_system_error,
)
from densevit.volumes.grid import GRID_TOLERANCE, Grid, times

logger = logging.getLogger("densevit")
BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error)
MOST_EXTENSIONS = 64 * 2**20  # bytes between header and values, or after them
GZIP = b"\x1f\x8b"
XFORM_CODES = tuple(range(6))  # of sform_code and qform_code: 0 says nothing
OTHER_UNITS = {1: "metres", 3: "micrometres"}  # of xyzt_units; 0 says nothing, and 2 is millimetres
PLACES = ("srow_x", "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")


@np.errstate(over="ignore", invalid="ignore")  # what is no finite number is refused in a sentence
def open_nifti(path: Path, *, options: ReadOptions) -> StoredVolume:
    """Read the header of a NIfTI file; a fourth axis holds channels. ValueError with the file's name."""
    import nibabel

    try:
        raw = _read_raw_header(path)
        with _quiet_nibabel():
            image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *BROKEN) as error:
        raise_system_error(error)
        raise ValueError(f"{path} cannot be read as NIfTI ({_line(error)}); get the file again") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise ValueError(f"{path} is {type(image).__name__}, and NIfTI is expected; convert it to .nii.gz")
    shape = tuple(map(int, image.shape))
    check_shape(path, shape)
    _check_storage(path, raw)
    _check_lengths(path, raw, options.geometry)
    _check_codes(path, raw, options.geometry)
    affine = _affine(image, path, options.geometry)
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    return StoredVolume(path, shape, affine, lambda: _values(image, path))


@contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Without what nibabel tells stderr of the headers that it corrects, in this thread."""
    import nibabel

    here = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    nibabel.imageglobals.logger.addFilter(from_elsewhere)
    try:
        yield
    finally:
        nibabel.imageglobals.logger.removeFilter(from_elsewhere)


def _read_raw_header(path: Path) -> Any:
    """The nibabel header, unchecked; ValueError for a file without one, or one that is compressed unlike its name says.

    Also for one that claims extensions of a size that no sound file has: nibabel reads them at once.
    """
    import nibabel

    with open(path, "rb") as stored:
        start = stored.read(2)
    if not start:
        raise ValueError("it is empty")
    compressed = start == GZIP
    if compressed != path.name.lower().endswith(".gz"):
        isnt, ending = ("is", ".nii.gz") if compressed else ("is not", ".nii")
        raise ValueError(f"it {isnt} compressed, unlike what its name says: rename it to {ending} if it is NIfTI")
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


def _check_storage(path: Path, raw: Any) -> None:
    """ValueError for values that are no plain numbers, of two sizes, or scaled by what is no number."""
    dtype = raw.get_data_dtype()
    if dtype.kind not in "iufb":
        name = "".join(dtype.names or [str(dtype)])  # RGB for colours, whose fields are so called
        raise ValueError(f"{path} holds {name} values, and a volume holds plain numbers; convert the file")
    if int(raw["bitpix"]) not in (0, dtype.itemsize * 8):
        raise ValueError(
            f"{path} says that a voxel has {int(raw['bitpix'])} bits, and values of its type {dtype} have "
            f"{dtype.itemsize * 8}; one of them is wrong: get the file again"
        )
    slope, intercept = (float(raw[name]) for name in ("scl_slope", "scl_inter"))
    unscaled = slope == 0 or (np.isnan(slope) and np.isnan(intercept))
    if not unscaled and not np.isfinite([slope, intercept]).all():
        raise ValueError(f"{path} scales its values by {slope} and {intercept}; get the file again, or correct it")


def _check_lengths(path: Path, raw: Any, geometry: str | None) -> None:
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


def _check_codes(path: Path, raw: Any, geometry: str | None) -> None:
    """ValueError for a header whose codes would turn left and right, unless `geometry` chooses a form.

    nibabel goes without a form whose code the standard does not have, takes an odd pixdim[0] for 1, and where both
    codes are 0 it takes the first axis to run to the left, whatever the forms hold.
    """
    codes = {form: int(raw[f"{form}_code"]) for form in ("sform", "qform")}
    wrong = []
    if geometry is None:
        wrong = [f"{form}_code {code}" for form, code in codes.items() if code not in XFORM_CODES]
    if geometry != "sform" and codes["qform"] > 0 and float(raw["pixdim"][0]) not in (-1.0, 0.0, 1.0):
        wrong.append(f"pixdim[0] {float(raw['pixdim'][0]):.4g}")
    if geometry is None and not any(codes.values()) and any(np.any(raw[name]) for name in PLACES):
        wrong.append("sform_code 0 and the qform_code 0, beside numbers of a form")
    if wrong:
        ways = [f"geometry='{form}'" for form, code in codes.items() if form == "sform" or code in XFORM_CODES[1:]]
        raise ValueError(
            f"{path} has the {wrong[0]}, so that which side is left is not known; choose {' or '.join(ways)} if that "
            "holds, or correct the file"
        )


def _affine(image: Any, path: Path, geometry: str | None) -> np.ndarray:
    """The affine (4, 4) in mm, on which sform, qform and voxel sizes agree, or that of the form that is chosen.

    ValueError where they place a corner more than `GRID_TOLERANCE` of a voxel apart.
    """
    header = image.header
    if geometry == "sform" and np.linalg.det(header.get_sform()[:3, :3]):
        return header.get_sform()  # whatever its code says
    forms = {"sform": header.get_sform(coded=True)[0]}
    try:
        forms["qform"] = header.get_qform(coded=True)[0]
    except ValueError as error:
        way = "choose geometry='sform' if its sform holds, or " * (forms["sform"] is not None)
        raise ValueError(
            f"{path} has a qform that is no rotation: its quaternion (quatern_b, quatern_c, quatern_d) is longer "
            f"than 1; {way}correct these three numbers"
        ) from error
    forms = {name: affine for name, affine in forms.items() if affine is not None}
    if geometry is not None:
        if geometry not in forms:
            raise ValueError(f"{path} has no valid {geometry}, only {' and '.join(forms) or 'voxel sizes'}")
        return forms[geometry]
    zooms = np.array(header.get_zooms()[:3], float)
    for name, affine in forms.items():
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        if not np.allclose(sizes, zooms, rtol=GRID_TOLERANCE, atol=0):
            raise ValueError(
                f"{path} disagrees with itself: its {name} has voxels of {times(sizes.round(4))} mm and its voxel "
                f"sizes say {times(zooms.round(4))}; choose geometry='{name}' if that holds, or correct the file"
            )
    if not forms:
        logger.warning("%s says not which way its axes run; they are taken to run left, anterior and superior", path)
    if len(forms) == 2:
        apart = Grid(image.shape[2::-1], forms["sform"]).distance(Grid(image.shape[2::-1], forms["qform"]))
        if not apart <= GRID_TOLERANCE * zooms.min():
            raise ValueError(
                f"{path} disagrees with itself: its sform and its qform place voxels up to {apart:.3g} mm apart; "
                "choose geometry='sform' or geometry='qform'"
            )
    return image.affine


@np.errstate(over="ignore", invalid="ignore")
def _values(image: Any, path: Path) -> np.ndarray:
    """The values, of a file that is as long as its header says; ValueError for another one, or a damaged one."""
    needed = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
    there = path.stat().st_size
    try:
        if path.name.lower().endswith(".gz"):  # which was compared with what is there
            check_ratio(path, there, needed)
            with gzip.open(path) as file:
                content = file.read(needed)
                if file.read(1):  # also reads to the end, where the checksum is: nibabel stops before it
                    raise ValueError("it holds more values than its header says")
            image = type(image).from_bytes(content)
        elif there != needed:
            raise ValueError(f"{needed} bytes are expected, and {there} are there")
        return np.asanyarray(image.dataobj)
    except BROKEN as error:
        raise_system_error(error)
        raise ValueError(f"{path} is damaged ({_line(error)}); get the file again") from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
