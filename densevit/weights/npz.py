"""Archives of numpy arrays, as Google publishes weights of flax."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densevit.weights.pickles import check_growth


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The tensors of an .npz file by name. No code of it runs; ValueError in one sentence for what is not readable."""
    check_growth(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: torch.from_numpy(archive[name]) for name in archive.files}
    except Exception as error:  # a damaged archive can fail in any way
        if isinstance(error, MemoryError):
            raise
        raise ValueError(f"{path} is damaged or not an archive of numpy's numbers: {error}") from error
