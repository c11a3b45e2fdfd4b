"""Archives of numpy arrays, as Google publishes weights of flax."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from densevit.weights.pickles import check_growth

STACKED = "/encoderblock/"  # of a network that was written as a loop over its blocks (flax's scan)


def read_arrays(path: Path) -> dict[str, Tensor]:
    """The tensors of an .npz file by name; blocks that lie in one array, as big_vision stacks them, become arrays each.

    No code of the file runs. ValueError in one sentence for what is not readable.
    """
    check_growth(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            tensors = ((name, _tensor(archive[name])) for name in archive.files)
            return {name: tensor for stacked in tensors for name, tensor in _single_blocks(*stacked)}
    except Exception as error:  # a damaged archive can fail in any way
        if isinstance(error, MemoryError):
            raise
        raise ValueError(f"{path} is damaged or not an archive of numpy's numbers: {error}") from error


def _tensor(array: np.ndarray) -> Tensor:
    """Numpy, which has no bfloat16, reads it as two bytes without a meaning."""
    if array.dtype == np.dtype("V2"):
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _single_blocks(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The tensors (L, ...) of all L blocks, `encoderblock/`, as those of `encoderblock_0/`, `encoderblock_1/`, ..."""
    if STACKED not in name:
        yield name, tensor
        return
    for k, of_block in enumerate(tensor):
        yield name.replace(STACKED, f"/encoderblock_{k}/"), of_block
