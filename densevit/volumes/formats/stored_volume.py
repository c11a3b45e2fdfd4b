"""What every format's reader is given, `ReadOptions`, and hands over: a header that was checked, and values that are
read when they are wanted, (X, Y, Z) or (X, Y, Z, C) in the file's own order of axes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from densevit.options import check_fields
from densevit.texts import format_bytes
from densevit.volumes.grid import Grid, times

MOST_EMPTY = 2**30  # bytes of values that any compressed file may announce
MOST_RATIO = 200  # times its own bytes that a larger one may


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """`geometry` ("sform" or "qform") chooses for a NIfTI file that disagrees with itself.

    For DICOM: `series` (a SeriesInstanceUID or a series number) and `modality` ("CT", "MR", "PT") choose among several,
    `allow_gantry_tilt` keeps the sheared affine of a tilted gantry, and `on_missing` says what becomes of a series with
    slices missing: "error", or "split", which reads its longest regular part. `stored_values` takes the stored values
    of a CT or PET that does not say how they become its unit. `max_bytes` bounds the float32 array of any scan.
    """

    geometry: str | None = None
    series: str | None = None
    modality: str | None = None
    allow_gantry_tilt: bool = False
    on_missing: str = "error"
    stored_values: bool = False
    max_bytes: int = 8 * 2**30

    def __post_init__(self) -> None:
        check_fields(self, owner="read")
        if self.geometry not in (None, "sform", "qform"):
            raise ValueError(f"geometry must be 'sform', 'qform' or None, got {self.geometry!r}")
        if self.on_missing not in ("error", "split"):
            raise ValueError(f"on_missing must be 'error' or 'split', got {self.on_missing!r}")
        if self.max_bytes <= 0:
            raise ValueError(f"max_bytes must be positive, got {self.max_bytes}")


REFUSING = ReadOptions()  # nothing chosen: what a file leaves open is refused


@dataclass(frozen=True)
class StoredVolume:
    """`affine` (4, 4) goes from the file's voxel (x, y, z) to millimetres (right, anterior, superior).

    `load` reads the values; ValueError or OSError where they are damaged. `source` see `Volume`; `modality` is what the
    file says of its numbers (`densevit.volumes.modality`), "" if nothing.
    """

    path: Path
    shape: tuple[int, ...]
    affine: np.ndarray
    load: Callable[[], np.ndarray]
    source: Any = None
    modality: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modality of each channel."""
        return (self.modality,) * prod(self.shape[3:])

    @property
    def grid(self) -> Grid:
        """The grid with its axes turned to point about right, anterior and superior."""
        from nibabel.orientations import inv_ornt_aff, io_orientation

        turns = io_orientation(self.affine)
        size = np.array(self.shape[:3])[np.argsort(turns[:, 0])]
        return Grid(tuple(size[::-1].tolist()), self.affine @ inv_ornt_aff(turns, self.shape[:3]))

    def image(self) -> np.ndarray:
        """Float32 (C, D, H, W) on `grid`; ValueError for values that are no finite number."""
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(self._load(), np.float32)
        wrong = values.size - np.count_nonzero(np.isfinite(values))
        if wrong:
            raise ValueError(
                f"{self.path} holds {wrong} voxels that are no finite number, or too large for float32; replace them, "
                "for example by 0"
            )
        return values

    def label(self) -> np.ndarray:
        """The file's own integers as int64 (D, H, W) on `grid`; ValueError for values that are not whole numbers."""
        if prod(self.shape[3:]) != 1:
            raise ValueError(
                f"{self.path} has {len(self.shape)} axes, and a label volume has three; save one label per voxel"
            )
        return np.ascontiguousarray(whole_numbers(self._load()[0], self.path))

    def _load(self) -> np.ndarray:
        """The values as a view (C, D, H, W) on `grid`."""
        values = self.load()
        return to_standard(values if values.ndim == 4 else values[..., None], self.affine)


def whole_numbers(values: np.ndarray, name: object) -> np.ndarray:
    """Labels as int64; ValueError for values that are no whole numbers.

    A program that stores labels by a slope and an intercept rounds them as float32 does: such numbers are whole.
    """
    if values.dtype.kind != "f":
        wrong, whole = (values > np.iinfo(np.int64).max), values.astype(np.int64)
    else:
        inside = np.abs(values) <= 2**53  # what is no number is not
        kept = np.where(inside, values, 0)
        largest = max(1.0, float(np.abs(kept).max(initial=0)))
        rounding = min(4 * np.finfo(np.float32).eps * largest, 0.05)
        whole = np.rint(kept).astype(np.int64)
        wrong = ~inside | (np.abs(kept - whole) > rounding)
    if wrong.any():
        worst = values[wrong][0]
        if worst == np.rint(worst) and np.isfinite(worst):
            raise ValueError(f"{name} holds {worst}, which is too large for a label; correct it, or is it an image?")
        raise ValueError(
            f"{name} holds {worst}, and labels are whole numbers; save it as integers, or name the label in its place "
            "if this is an image"
        )
    return whole


def to_standard(values: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Values (X, Y, Z, ...) in a file's order of axes -> a view (..., D, H, W)."""
    from nibabel.orientations import apply_orientation, io_orientation

    return apply_orientation(values, io_orientation(affine)).T


def check_shape(path: Path, shape: tuple[int, ...]) -> None:
    """ValueError for a shape that is no volume's."""
    if len(shape) not in (3, 4) or min(shape) < 1:
        way = "save each channel as a file of its own" if len(shape) > 4 else "give a volume"
        raise ValueError(f"{path} has the shape {shape}, and a volume has three axes, or a fourth of channels; {way}")


def check_header(path: Path, *, shape: tuple[int, ...], affine: np.ndarray, max_bytes: int) -> None:
    """ValueError for what is no volume, lies nowhere, or would take more memory than allowed."""
    check_shape(path, shape)
    if not np.isfinite(affine).all() or not np.linalg.det(affine[:3, :3]):
        raise ValueError(f"{path} says nothing usable about its orientation: its affine is singular; correct the file")
    needed = 4 * prod(map(int, shape))
    if needed > max_bytes:
        raise ValueError(
            f"{path} says that it holds {times(shape)} voxels, which take {needed / 2**30:.3g} GiB, and "
            f"{max_bytes / 2**30:.3g} are allowed; correct the file, or raise max_bytes"
        )


def check_ratio(path: Path, there: int, needed: int) -> None:
    """ValueError for a compressed file of `there` bytes that would hold a job for minutes, for values that must nearly
    all be the same: `needed` bytes, over `MOST_EMPTY` and over `MOST_RATIO` times as many.
    """
    if needed > max(MOST_EMPTY, MOST_RATIO * there):
        raise ValueError(
            f"{path} has {format_bytes(there)}, and its header announces {format_bytes(needed)} of values, nearly "
            "all of them the same; correct the header, or decompress the file first if it is right"
        )


def raise_system_error(error: Exception) -> None:
    """Raise what the system says of a file, such as that it may not be read; libraries' own errors have no number."""
    if isinstance(error, OSError) and error.errno:
        raise error
