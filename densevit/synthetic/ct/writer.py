"""A set of synthetic scans on disk, in the layout of the Medical Segmentation Decathlon."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from densevit.synthetic.ct.labels import CLASSES
from densevit.synthetic.ct.patient import sample_patient
from densevit.synthetic.ct.scan import render_scan, sample_protocol
from densevit.synthetic.made_set import Progress, make_set

MANIFEST = "synthetic_ct.json"
RENDERER = 3  # counts up when the same seed gives other scans


def make_synthetic_ct(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    seed: int = 0,
    in_plane: tuple[float, float] = (2.5, 4.0),
    slices: tuple[float, float] = (3.0, 5.0),
    progress: Progress | None = None,
) -> Path:
    """Render scans into `root`, a Decathlon folder with its dataset.json, and return it.

    Voxels are drawn from `in_plane` and `slices`, ranges in mm (a clinical scan has 0.7 to 1 by 1 to 5, and the longer
    files). Scan i of a split depends on `seed`, the split, i and the ranges alone. The set is written aside and takes
    its name when it is complete; a complete set made with the same arguments is used again. `progress(done, total)` is
    called after each scan. Raises ValueError where `root` holds anything else.
    """
    for name, (low, high) in dict(in_plane=in_plane, slices=slices).items():
        if not 0.3 <= low <= high <= 20:
            raise ValueError(f"{name} must be two rising sizes of voxels from 0.3 to 20 mm, got {low} and {high}")
    counts = dict(training=num_train, validation=num_val)
    manifest = dict(renderer=RENDERER, counts=counts, seed=seed, in_plane=list(in_plane), slices=list(slices))

    def draw(rng: np.random.Generator, files: Sequence[Path]) -> None:
        patient = sample_patient(rng)
        protocol = sample_protocol(rng, in_plane=in_plane, slices=slices)
        for path, values in zip(files, render_scan(patient, protocol, rng=rng), strict=True):
            save_nifti(values, protocol.affine, path)

    texts = {"dataset.json": json.dumps(_description(counts), indent=1) + "\n"}
    settings = dict(name=MANIFEST, what="synthetic scans", paths=_paths, texts=texts)
    return make_set(root, manifest, draw=draw, progress=progress, **settings)


def _paths(split: str, index: int) -> list[Path]:
    """Image and label of one case."""
    return [Path(folder, f"phantom_{split}_{index:03d}.nii.gz") for folder in ("imagesTr", "labelsTr")]


def save_nifti(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an array (X, Y, Z) with its affine in mm as qform and sform."""
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    image.set_qform(affine, code="scanner")
    image.set_sform(image.get_qform(), code="scanner")  # near half a turn a quaternion is up to a millimetre coarse
    nibabel.save(image, path)


def _description(counts: dict[str, int]) -> dict:
    """The content of dataset.json."""
    lists = {split: [dict(zip(("image", "label"), (f"./{path.as_posix()}" for path in _paths(split, i)), strict=True))
                     for i in range(count)] for split, count in counts.items()}  # fmt: skip
    return dict(
        name="SyntheticCT",
        description="Drawn bodies with true Hounsfield units; no person was scanned",
        reference="densevit.synthetic.ct",
        licence="Apache-2.0",
        tensorImageSize="3D",
        modality={"0": "CT"},
        labels={str(i): name for i, name in enumerate(CLASSES)},
        numTraining=counts["training"],
        numTest=0,
        **lists,
        test=[],
    )
