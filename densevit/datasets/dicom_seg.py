"""DICOM-SEG."""

from pathlib import Path

import numpy as np


def read_dicom_seg(path: Path, *, like: object) -> np.ndarray:
    """Soon."""
    raise NotImplementedError
