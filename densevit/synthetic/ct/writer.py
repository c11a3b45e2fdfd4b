"""A set of synthetic scans on disk, in the layout of the Medical Segmentation Decathlon."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from densevit.synthetic.ct.labels import CLASSES
from densevit.synthetic.ct.patient import sample_patient
from densevit.synthetic.ct.scan import render_scan, sample_protocol
from densevit.synthetic.made_set import make_set

MANIFEST = "synthetic_ct.json"
RENDERER = 1  # counts up when the same seed gives other scans
SPLITS = ("training", "validation")


def make_synthetic_ct(
    root: str | Path,
    *,
    num_train: int,
    num_val: int,
    seed: int = 0,
    in_plane: tuple[float, float] = (2.5, 4.0),
    slices: tuple[float, float] = (3.0, 5.0),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Render scans into `root`, a Decathlon folder with its dataset.json, and return it.

    Voxels are drawn from `in_plane` and `slices`, ranges in mm (a clinical scan has 0.7 to 1 by 1 to 5, and the longer
    files). Scan i of a split depends on `seed`, the split, i and the ranges alone. The set is written aside and takes
    its name when it is complete; a complete set made with the same arguments is used again. `progress(done, total)` is
    called after each scan. Raises ValueError where `root` holds anything else.
    """
    root = Path(root)
    counts = dict(training=num_train, validation=num_val)
    if min(counts.values()) < 0 or sum(counts.values()) == 0 or not 0 <= seed < 1 << 63:
        raise ValueError(f"cannot make {counts} scans with seed {seed}; ask for at least one scan and a seed from 0 up")
    for name, (low, high) in dict(in_plane=in_plane, slices=slices).items():
        if not 0.3 <= low <= high <= 20:
            raise ValueError(f"{name} must be two rising sizes of voxels from 0.3 to 20 mm, got {low} and {high}")
    manifest = dict(renderer=RENDERER, counts=counts, seed=seed, in_plane=list(in_plane), slices=list(slices))

    def write(aside: Path) -> None:
        for done, (split, index) in enumerate(_cases(counts), start=1):
            _write_case(aside, split, index=index, seed=seed, in_plane=in_plane, slices=slices)
            if progress is not None:
                progress(done, sum(counts.values()))
        (aside / "dataset.json").write_text(json.dumps(_description(counts), indent=1) + "\n")

    files = [Path("dataset.json")]
    files += [path for split, index in _cases(counts) for path in _paths(Path(), split, index=index)]
    return make_set(root, manifest, name=MANIFEST, what="synthetic scans", files=files, write=write)


def _cases(counts: dict[str, int]) -> Iterator[tuple[str, int]]:
    return ((split, index) for split, count in counts.items() for index in range(count))


def _paths(root: Path, split: str, *, index: int) -> tuple[Path, Path]:
    """Image and label of one case."""
    name = f"phantom_{split}_{index:03d}.nii.gz"
    return root / "imagesTr" / name, root / "labelsTr" / name


def _write_case(
    root: Path, split: str, *, index: int, seed: int, in_plane: tuple[float, float], slices: tuple[float, float]
) -> None:
    key = np.array([seed, SPLITS.index(split) << 32 | index], dtype=np.uint64)
    rng = np.random.Generator(np.random.Philox(key=key))
    patient = sample_patient(rng)
    protocol = sample_protocol(rng, in_plane=in_plane, slices=slices)
    for path, values in zip(_paths(root, split, index=index), render_scan(patient, protocol, rng=rng), strict=True):
        path.parent.mkdir(exist_ok=True)
        save_nifti(values, protocol.affine, path)


def save_nifti(values: np.ndarray, affine: np.ndarray, path: Path) -> None:
    """Write an array (X, Y, Z) with its affine in mm as sform and qform."""
    import nibabel

    image = nibabel.Nifti1Image(values, affine)
    image.header.set_xyzt_units("mm")
    for place in (image.set_sform, image.set_qform):
        place(affine, code="scanner")
    nibabel.save(image, path)


def _description(counts: dict[str, int]) -> dict:
    """The content of dataset.json."""
    lists = {
        split: [
            {kind: f"./{path.as_posix()}" for kind, path in zip(("image", "label"), pair, strict=True)}
            for pair in (_paths(Path(), split, index=index) for index in range(count))
        ]
        for split, count in counts.items()
    }
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
