"""NIfTI files (.nii, .nii.gz, NIfTI-1 and NIfTI-2), and where they place their voxels."""

import gzip
import logging
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from densevit.volumes.formats.nifti_header import (
    check_codes,
    check_lengths,
    check_name,
    check_storage,
    quiet_nibabel,
    read_raw_header,
)
from densevit.volumes.formats.raw_values import check_ratio, raise_system_error
from densevit.volumes.formats.stored_volume import StoredVolume, check_header, check_shape
from densevit.volumes.grid import GRID_TOLERANCE, Grid, times
from densevit.volumes.read_options import REFUSING, ReadOptions

logger = logging.getLogger("densevit")
BROKEN = (OSError, EOFError, ValueError, OverflowError, zlib.error)


def quietly() -> np.errstate:
    """Without numpy's warnings: what is no finite number is refused in a sentence."""
    return np.errstate(over="ignore", invalid="ignore")


def open_nifti(path: Path, *, options: ReadOptions = REFUSING) -> StoredVolume:
    """Read the header of a NIfTI file; a fourth axis holds channels. ValueError with the file's name."""
    with quietly():
        return _open(path, options)


def _open(path: Path, options: ReadOptions) -> StoredVolume:
    import nibabel

    try:
        check_name(path)
        raw = read_raw_header(path)
        with quiet_nibabel():
            image = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *BROKEN) as error:
        raise_system_error(error)
        raise ValueError(f"{path} cannot be read as NIfTI ({_line(error)}); get the file again") from error
    if not isinstance(image, nibabel.Nifti1Pair):
        raise ValueError(f"{path} is {type(image).__name__}, and NIfTI is expected; convert it to .nii.gz")
    shape = tuple(map(int, image.shape))
    check_shape(path, shape)
    dtype = image.get_data_dtype()
    if dtype.kind not in "iufb":
        raise ValueError(f"{path} holds {_type_name(dtype)} values, and a volume holds plain numbers; convert the file")
    check_storage(path, raw)
    check_lengths(path, raw, geometry=options.geometry)
    check_codes(path, raw, geometry=options.geometry)
    affine = check_geometry(image, path, geometry=options.geometry)
    check_header(path, shape=shape, affine=affine, max_bytes=options.max_bytes)
    return StoredVolume(path, shape, affine, lambda: _values(image, path))


def check_geometry(image: Any, path: str | Path, *, geometry: str | None = None) -> np.ndarray:
    """The affine (4, 4) of a nibabel image in mm, on which its sform, its qform and its voxel sizes agree.

    ValueError where they place a corner more than `GRID_TOLERANCE` of a voxel apart, unless `geometry` chooses a form.
    """
    header = image.header
    forms = {"sform": header.get_sform(coded=True)[0]}
    if geometry != "sform":
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
        if geometry == "sform" and geometry not in forms and np.linalg.det(header.get_sform()[:3, :3]):
            return header.get_sform()  # chosen, whatever its code says
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


def _values(image: Any, path: Path) -> np.ndarray:
    compressed = path.name.lower().endswith(".gz")  # which `check_name` compared with what is there
    if compressed:
        check_ratio(path, path.stat().st_size, _needed(image))
    try:
        if not compressed:
            _check_length(image, path)
        source = type(image).from_bytes(_inflate(image, path)) if compressed else image
        with quietly():
            return np.asanyarray(source.dataobj)
    except BROKEN as error:
        raise_system_error(error)
        raise ValueError(f"{path} is damaged ({_line(error)}); get the file again") from error


def _needed(image: Any) -> int:
    """Bytes of header and values."""
    return int(image.dataobj.offset) + math.prod(image.shape) * image.get_data_dtype().itemsize


def _check_length(image: Any, path: Path) -> None:
    """ValueError for an uncompressed file that is too short, before memory is taken for it, or too long."""
    needed, there = _needed(image), path.stat().st_size
    if there != needed:
        raise ValueError(f"{needed} bytes are expected, and {there} are there")


def _type_name(dtype: np.dtype) -> str:
    """`RGB` for colours, whose fields are so called."""
    return "".join(dtype.names) if dtype.names else str(dtype)


def _inflate(image: Any, path: Path) -> bytes:
    """Header and values of a gzip file, read to its end, where the checksum is: nibabel stops before it."""
    needed = _needed(image)
    with gzip.open(path) as file:
        content = file.read(needed)
        if file.read(1):
            raise ValueError("it holds more values than its header says")
    return content


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
