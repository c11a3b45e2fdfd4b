"""A few small NIfTI scans with a bright ball and a dim box in noise, so that the examples run anywhere."""

from pathlib import Path

import nibabel
import numpy as np

CLASSES = ("background", "ball", "box")


def write_scans(folder: Path, *, count: int, size: tuple[int, int, int] = (40, 36, 32), seed: int = 0) -> list[dict]:
    """Write `count` scans of `size` voxels with their labels; [{"image": path, "label": path}, ...]."""
    rng = np.random.default_rng(seed)
    cases = []
    for i in range(count):
        label = np.zeros(size, np.uint8)
        low = rng.integers(2, 16, 3)
        label[tuple(slice(n, n + 12) for n in low)] = 2
        where = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"), -1)
        label[np.linalg.norm(where - rng.integers(10, 22, 3), axis=-1) < 7] = 1
        image = np.array([100.0, 220.0, 150.0])[label] + rng.normal(0, 15, size)
        case = dict(image=str(folder / f"scan_{i}.nii.gz"), label=str(folder / f"label_{i}.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), np.diag([1.5, 1.5, 2.0, 1.0])), case["image"])
        nibabel.save(nibabel.Nifti1Image(label, np.diag([1.5, 1.5, 2.0, 1.0])), case["label"])
        cases.append(case)
    return cases
