"""NIfTI files (.nii, .nii.gz, NIfTI-1 and NIfTI-2), and where they place their voxels."""

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from densevit.datasets.grid import GRID_TOLERANCE, Grid, times
from densevit.datasets.read_options import REFUSING, ReadOptions
from densevit.datasets.stored_volume import StoredVolume, check_header

logger = logging.getLogger("densevit")
BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error)
MOST_EXTENSIONS = 64 * 2**20  # bytes between header and values, or after them
CHUNK = 2**20


def open_nifti(path: Path, *, options: ReadOptions = REFUSING) -> StoredVolume:
    """Read the header of a NIfTI file; a fourth axis holds channels. ValueError with the file's name."""
    import nibabel

    try:
        _check_start(path)
        image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *BROKEN) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({_line(error)}); get the file again") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise ValueError(f"{path} is {type(image).__name__}, and NIfTI is expected; convert it to .nii.gz")
    affine = check_geometry(image, path, geometry=options.geometry)
    shape = tuple(map(int, image.shape))
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    if image.get_data_dtype().kind not in "iufb":
        raise ValueError(
            f"{path} holds {image.get_data_dtype()} values, and a volume holds plain numbers; convert the file"
        )
    return StoredVolume(path, shape, affine, lambda: _values(image, path))


def check_geometry(image: Any, path: str | Path, *, geometry: str | None = None) -> np.ndarray:
    """The affine (4, 4) of a nibabel image in mm, on which its sform, its qform and its voxel sizes agree.

    ValueError where they place a corner more than `GRID_TOLERANCE` of a voxel apart, unless `geometry` chooses a form.
    """
    header = image.header
    try:
        forms = {"sform": header.get_sform(coded=True)[0], "qform": header.get_qform(coded=True)[0]}
    except ValueError as error:  # a quaternion longer than 1
        raise ValueError(f"{path} has a qform that is none ({error}); correct the file") from error
    forms = {name: affine for name, affine in forms.items() if affine is not None}
    if geometry is not None:
        if geometry not in forms:
            raise ValueError(f"{path} has no valid {geometry}, only {' and '.join(forms) or 'voxel sizes'}")
        return forms[geometry]
    size = tuple(image.shape[2::-1])
    zooms = np.array(header.get_zooms()[:3], float)
    for name, affine in forms.items():
        sizes = np.linalg.norm(affine[:3, :3], axis=0)[: len(zooms)]
        if not np.allclose(sizes, zooms, rtol=GRID_TOLERANCE, atol=0):
            raise ValueError(
                f"{path} disagrees with itself: its {name} has voxels of {times(sizes.round(4))} mm and its voxel "
                f"sizes say {times(zooms.round(4))}; choose geometry='{name}' if that holds, or correct the file"
            )
    if not forms:
        logger.warning("%s says not which way its axes run; they are taken to run left, anterior and superior", path)
    if len(forms) == 2 and len(size) == 3:
        apart = Grid(size, forms["sform"]).distance(Grid(size, forms["qform"]))
        if not apart <= GRID_TOLERANCE * zooms.min():
            raise ValueError(
                f"{path} disagrees with itself: its sform and its qform place voxels up to {apart:.3g} mm apart; "
                "choose geometry='sform' or geometry='qform'"
            )
    return image.affine


def _check_start(path: Path) -> None:
    """ValueError where a header claims extensions of a size that no sound file has: nibabel reads them at once."""
    import nibabel

    with nibabel.openers.ImageOpener(path) as file:
        start = file.read(544)
    for header in (nibabel.Nifti1Header, nibabel.Nifti2Header):
        if header.may_contain_header(start):
            offset = float(header(start[: header.sizeof_hdr], check=False)["vox_offset"])
            if not 0 <= offset <= MOST_EXTENSIONS:
                raise ValueError(f"its header says that values start at byte {offset:.4g}")


def _values(image: Any, path: Path) -> np.ndarray:
    try:
        with open(path, "rb") as file:
            compressed = file.read(2) == b"\x1f\x8b"
        source = type(image).from_bytes(_inflate(image, path)) if compressed else image
        return np.asanyarray(source.dataobj)
    except BROKEN as error:
        raise ValueError(f"{path} is damaged ({_line(error)}); get the file again") from error


def _inflate(image: Any, path: Path) -> bytes:
    """Header and values of a gzip file, read to its end, where the checksum is: nibabel stops before it."""
    needed = int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize
    with gzip.open(path) as file:
        content = file.read(needed)
        more = 0
        while rest := file.read(CHUNK):
            more += len(rest)
            if more > MOST_EXTENSIONS:
                raise ValueError("it holds more values than its header says")
    return content


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
