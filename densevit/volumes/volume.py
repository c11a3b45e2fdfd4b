"""One scan: its values in a standard orientation, and what is needed to write a result on the file's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from densevit.files import reads_a_file, replacing
from densevit.quoting import label_name
from densevit.volumes.formats.stored_volume import REFUSING, ReadOptions, StoredVolume
from densevit.volumes.grid import Grid, check_same_grid
from densevit.volumes.paths import NIFTI_ENDINGS, case_name, kind_of

__all__ = ["NIFTI_ENDINGS", "ReadOptions", "Volume", "case_name", "open_volume", "read_grid", "read_label_volume"]
LONGEST_IN_NIFTI_1 = 2**15 - 1


@dataclass(frozen=True)
class Volume:
    """`image` is float32 (C, D, H, W), axes pointing to superior, anterior and right as far as the file's axes allow;
    `grid` says where it lies. `affine` (4, 4) is the file's own, in mm: right, anterior, superior of its voxel
    (x, y, z). `source` is what a DICOM-SEG refers to, None for other files; `modalities` says of each channel what its
    numbers are (`densevit.volumes.modality`), where the file does.
    """

    image: np.ndarray
    grid: Grid
    path: Path
    affine: np.ndarray
    source: Any = None
    modalities: tuple[str, ...] = ()

    def axes_of_file(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Of each of the file's axes (Z, Y, X): which one of (D, H, W) it is, and whether it runs the other way."""
        from nibabel.orientations import io_orientation

        turns = io_orientation(self.affine)[::-1]
        return tuple(2 - int(place) for place, _ in turns), tuple(bool(way < 0) for _, way in turns)

    def on_own_axes(self, label: np.ndarray) -> np.ndarray:
        """A label map (D, H, W) of this volume in the file's order of axes (X, Y, Z)."""
        from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

        if label.shape != self.grid.size:
            raise ValueError(f"the label has {label.shape} voxels, and {self.path} has {self.grid.size}")
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(self.affine))
        return np.ascontiguousarray(apply_orientation(label.transpose(2, 1, 0), back))

    def write_label(self, label: np.ndarray, path: Path, *, names: Sequence[str] = ()) -> None:
        """Save a label map (D, H, W) as NIfTI on the file's own grid, beside first and then renamed.

        It is stored in the smallest integers that hold it; `names` are put into the header's description as far as they
        fit (80 bytes). OSError with the path.
        """
        import nibabel

        kind = nibabel.Nifti1Image if max(label.shape) <= LONGEST_IN_NIFTI_1 else nibabel.Nifti2Image
        image = kind(self.on_own_axes(label).astype(_smallest_type(label)), self.affine)
        image.header["descrip"] = ";".join(map(label_name, names)).encode("ascii", "replace")[:79]
        image.header.set_xyzt_units("mm")
        image.set_sform(self.affine, code="scanner")
        image.set_qform(self.affine, code="scanner" if _is_rigid(self.affine) else "unknown")
        with replacing(path) as aside:
            nibabel.save(image, aside)


@reads_a_file
def open_volume(path: str | Path | Sequence[str | Path], *, options: ReadOptions = REFUSING) -> Volume:
    """Read a scan: NIfTI, NRRD, MetaImage, a DICOM file or a folder of one DICOM series; or a list, one a channel.

    Any file of a DICOM series stands for the series. A fourth axis of a file holds channels. ValueError, with the
    file's name, for what is no volume, damaged, larger than `options.max_bytes`, of two places or of no regular slices,
    for values that are no finite number, and for channels on several grids; OSError for what cannot be read.
    """
    if isinstance(path, str | Path):
        stored = _open(path, options)
        named = dict(source=stored.source, modalities=stored.modalities)
        return Volume(stored.image(), stored.grid, stored.path, stored.affine, **named)
    channels = [open_volume(each, options=options) for each in path]
    if not channels:
        raise ValueError("no files were given; a volume is at least one")
    _check_channels(channels)
    modalities = tuple(modality for channel in channels for modality in channel.modalities)
    return replace(channels[0], image=np.concatenate([channel.image for channel in channels]), modalities=modalities)


def read_grid(path: str | Path, *, options: ReadOptions = REFUSING) -> Grid:
    """The grid that `open_volume` would give; reads headers alone."""
    return _open(path, options).grid


def read_header(paths: Sequence[str | Path], *, options: ReadOptions = REFUSING) -> tuple[Grid, tuple[str, ...]]:
    """The grid, and the modality of each channel, that `open_volume` of these files would give; reads headers alone."""
    stored = [_open(path, options) for path in paths]
    _check_channels(stored)
    return stored[0].grid, tuple(modality for each in stored for modality in each.modalities)


@reads_a_file
def read_label_volume(
    path: str | Path, *, options: ReadOptions = REFUSING, like: Volume | None = None
) -> tuple[np.ndarray, Grid]:
    """The file's own integers as int64 (D, H, W), and its grid; ValueError for values that are not whole numbers.

    A DICOM-SEG counts its segments from 1; it is read onto the grid of `like`, the scan that it belongs to.
    """
    if like is not None and kind_of(Path(path)) == "dicom":
        from densevit.volumes.formats.dicom_seg_reading import read_dicom_seg

        return read_dicom_seg(Path(path), like=like).astype(np.int64), like.grid
    stored = _open(path, options)
    return stored.label(), stored.grid


def nifti_bytes(array: np.ndarray, grid: Grid) -> bytes:
    """A NIfTI file, compressed, of voxels (D, H, W) on a grid, for what takes one that lies on no disk."""
    import gzip

    import nibabel

    image = nibabel.Nifti1Image(np.ascontiguousarray(array.transpose(2, 1, 0)), grid.affine)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 6, mtime=0)


@reads_a_file
def _open(path: str | Path, options: ReadOptions) -> StoredVolume:
    kind = kind_of(Path(path))
    reader = import_module(f"densevit.volumes.formats.{kind}")  # each brings libraries of its own
    return getattr(reader, f"open_{kind}")(Path(path), options=options)


def _check_channels(channels: Sequence[Volume | StoredVolume]) -> None:
    """All lie on the grid of the first."""
    first = channels[0]
    sources = [channel.source for channel in channels if channel.source is not None]
    if any(source in sources[:index] for index, source in enumerate(sources)):
        raise ValueError(
            f"{first.path} and others given with it are of one DICOM series, and each is to be a channel; give one of "
            "them, or their folder"
        )
    for other in channels[1:]:
        check_same_grid((str(first.path), first.grid), (str(other.path), other.grid), what="channel")


def _smallest_type(label: np.ndarray) -> np.dtype:
    """The integers that hold all values of a label map; ValueError for values of another kind."""
    if label.dtype.kind not in "iub":
        raise ValueError(f"the label holds {label.dtype} values, and whole numbers are expected; round it first")
    return np.result_type(*(np.min_scalar_type(int(value)) for value in (label.min(), label.max())))


def _is_rigid(affine: np.ndarray) -> bool:
    """Whether a qform can say the same: axes at right angles."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
