"""One scan: its values in a standard orientation, and what is needed to write a result on the file's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from densevit.datasets.nifti import BROKEN, Grid, check_geometry, check_same_grid, read_volume
from densevit.datasets.read_options import REFUSING, ReadOptions
from densevit.datasets.replacing import replacing

NIFTI_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Volume:
    """`image` is float32 (C, D, H, W), axes pointing to superior, anterior and right as far as the file's axes allow;
    `grid` says where it lies. `affine` (4, 4) is the file's own, in mm. `source` is what a DICOM-SEG refers to."""

    image: np.ndarray
    grid: Grid
    path: Path
    affine: np.ndarray
    source: Any = None

    def on_own_axes(self, label: np.ndarray) -> np.ndarray:
        """A label map (D, H, W) of this volume in the file's order of axes (X, Y, Z)."""
        from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

        if label.shape != self.grid.size:
            raise ValueError(f"the label has {label.shape} voxels, and {self.path} has {self.grid.size}")
        back = ornt_transform(axcodes2ornt("RAS"), io_orientation(self.affine))
        return np.ascontiguousarray(apply_orientation(label.transpose(2, 1, 0), back))

    def write_label(self, label: np.ndarray, path: Path, *, names: Sequence[str] = ()) -> None:
        """Save a label map (D, H, W) on the file's own grid, beside first and then renamed; OSError with the path.

        `names` are put into the header's description as far as they fit (80 bytes).
        """
        import nibabel

        image = nibabel.Nifti1Image(self.on_own_axes(label), self.affine)
        image.header["descrip"] = ";".join(names).encode("ascii", "replace")[:79]
        image.header.set_xyzt_units("mm")
        image.set_sform(self.affine, code="scanner")
        image.set_qform(self.affine, code="scanner" if _is_rigid(self.affine) else "unknown")
        with replacing(path) as aside:
            nibabel.save(image, aside)


def open_volume(path: str | Path | Sequence[str | Path], *, options: ReadOptions = REFUSING) -> Volume:
    """Read a scan: a NIfTI file (.nii, .nii.gz; a fourth axis holds channels), or a list of files, one a channel.

    Raises ValueError, with the file's name, for what is no volume, for values that are no finite number, where a NIfTI
    file's sform, qform and voxel sizes place it differently (`options.geometry` then says which one holds), and for
    channels that do not lie on one grid. FileNotFoundError for a file that is not there.
    """
    if isinstance(path, str | Path):
        return _open_one(Path(path), options)
    channels = [_open_one(Path(each), options) for each in path]
    if not channels:
        raise ValueError("no files were given; a volume is at least one")
    first = channels[0]
    for other in channels[1:]:
        check_same_grid((str(first.path), first.grid), (str(other.path), other.grid), what="channel")
    return replace(first, image=np.concatenate([channel.image for channel in channels]))


def _open_one(path: Path, options: ReadOptions) -> Volume:
    import nibabel

    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}; check the path")
    try:
        stored = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, *BROKEN) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); get the file again") from error
    affine = check_geometry(stored, path, geometry=options.geometry)
    image, grid = read_volume(str(path), affine=affine)
    return Volume(image, grid, path, affine)


def case_name(path: Path) -> str:
    """`scan_01.nii.gz` -> `scan_01`."""
    return next((path.name.removesuffix(end) for end in NIFTI_ENDINGS if path.name.endswith(end)), path.stem)


def _is_rigid(affine: np.ndarray) -> bool:
    """Whether a qform can say the same: axes at right angles."""
    axes: Any = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
