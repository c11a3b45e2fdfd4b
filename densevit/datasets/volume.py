"""One scan: its values in a standard orientation, and what is needed to write a result on the file's own grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densevit.datasets.nifti import BROKEN, Grid, check_geometry, read_volume
from densevit.datasets.replacing import replacing

NIFTI_ENDINGS = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Volume:
    """`image` is float32 (C, D, H, W), axes pointing to superior, anterior and right as far as the file's axes allow;
    `grid` says where it lies. `affine` (4, 4) is the file's own, in mm."""

    image: np.ndarray
    grid: Grid
    path: Path
    affine: np.ndarray

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


def open_volume(path: str | Path, *, geometry: str | None = None) -> Volume:
    """Read a NIfTI file (.nii, .nii.gz; a fourth axis holds channels).

    Raises ValueError, with the file's name, for what is no volume, for values that are no finite number, and where its
    sform, its qform and its voxel sizes place it differently: `geometry="sform"` or `"qform"` then says which one
    holds. FileNotFoundError for a file that is not there.
    """
    import nibabel

    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}; check the path")
    try:
        stored = nibabel.load(path)
    except (nibabel.filebasedimages.ImageFileError, *BROKEN) as error:
        raise ValueError(f"{path} cannot be read as NIfTI ({error}); get the file again") from error
    affine = check_geometry(stored, path, geometry=geometry)
    image, grid = read_volume(str(path), affine=affine)
    return Volume(image, grid, Path(path), affine)


def case_name(path: Path) -> str:
    """`scan_01.nii.gz` -> `scan_01`."""
    return next((path.name.removesuffix(end) for end in NIFTI_ENDINGS if path.name.endswith(end)), path.stem)


def _is_rigid(affine: np.ndarray) -> bool:
    """Whether a qform can say the same: axes at right angles."""
    axes: Any = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(axes.T @ axes, np.eye(3), atol=1e-4))
