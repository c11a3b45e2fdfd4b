"""What lies beside label maps: Cityscapes' numbers of instances, and probabilities of classes.

Legend: C classes, truth (*S) in the files' values.
"""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from densevit.evaluate.pairs import ARRAYS, Pair, find_files
from densevit.evaluate.structures import Structures, structures_of_values
from densevit.metrics import Calibration, InstanceIoU
from densevit.pictures.reading import read_label
from densevit.registry import check_known
from densevit.volumes.grid import Grid, check_same_grid
from densevit.volumes.paths import FILE_ENDINGS
from densevit.volumes.volume import open_volume

LABELS = re.compile(r"_label(Train)?Ids(?=\.png$)")
FIRST_INSTANCE = 1000  # Cityscapes' are 1000 times the label and a number; below it stand labels without instances
UNKNOWN = -1


@dataclass(frozen=True)
class Besides:
    """Of one case, None where there is no such file; `fault` says why probabilities that are there are of no use.

    `classes` are the names of those that the probabilities are of.
    """

    instances: InstanceIoU | None = None
    calibration: Calibration | None = None
    classes: tuple[str, ...] = ()
    fault: str | None = None


def find_probabilities(folder: str | Path, cases: Sequence[str]) -> dict[str, Path]:
    """Case -> file of its probabilities, called as predictions are; ValueError where no case has one."""
    return find_files(Path(folder), cases, endings=(*ARRAYS, *FILE_ENDINGS), what="file")


def measure_besides(
    pair: Pair,
    maps: tuple[np.ndarray, np.ndarray, Grid],
    structures: Structures | None,
    probabilities: Path | None,
) -> Besides:
    """Of `maps`, prediction and truth without ignored values and their grid: what the files beside them say.

    Without `structures` each class is its own number.
    """
    prediction, truth, grid = maps
    instances = calibration = fault = None
    classes: tuple[str, ...] = ()
    path = pair.truth.with_name(LABELS.sub("_instanceIds", pair.truth.name))
    if structures is not None and structures.average_sizes and path != pair.truth and path.is_file():
        numbers = read_label(path)
        instances = InstanceIoU(structures.average_sizes, structures.labels, ignore_index=structures.ignore_index)
        instances.update(prediction, truth, np.where(numbers < FIRST_INSTANCE, 0, numbers))
    if probabilities is not None:
        try:
            calibration, classes = _calibration(probabilities, pair, truth, grid, structures)
        except (ValueError, OSError, MemoryError, KeyError) as error:
            fault = f"{probabilities}: {error.args[0] if error.args else type(error).__name__}"
    return Besides(instances, calibration, classes, fault)


def _calibration(
    path: Path, pair: Pair, truth: np.ndarray, grid: Grid, structures: Structures | None
) -> tuple[Calibration, tuple[str, ...]]:
    """Of the probabilities in a file, and the names of their classes."""
    if path.suffix.lower() in ARRAYS:
        values = _read_array(path)
        if grid.affine is not None:  # arrays of other programs have the axes of the file
            truth = open_volume(pair.truth).on_own_axes(truth).transpose(2, 1, 0)
    else:
        volume = open_volume(path)
        check_same_grid((str(pair.truth), grid), (str(path), volume.grid), what="probabilities", of="label")
        values = volume.image
    if values.shape[1:] != truth.shape and values.shape[:-1] == truth.shape:
        values = np.moveaxis(values, -1, 0)
    if values.dtype.kind != "f" or values.shape[1:] != truth.shape:
        raise ValueError(
            f"expected floating-point probabilities of shape (classes, {', '.join(map(str, truth.shape))}), or with "
            f"the classes last, got {values.dtype} {values.shape}"
        )
    if structures is None:
        structures = structures_of_values(range(len(values)))
        structures.check(truth, path=pair.truth, what="label")
    known = structures.class_values(len(values))
    calibration = Calibration(len(values), ignore_index=UNKNOWN)
    calibration.update(torch.from_numpy(np.ascontiguousarray(values)), _numbers(truth, [*known]))
    return calibration, tuple(known.values())


def _numbers(truth: np.ndarray, values: Sequence[int]) -> Tensor:
    """Class numbers of the files' values, `UNKNOWN` for others."""
    at = np.searchsorted(values, truth).clip(max=len(values) - 1)
    return torch.from_numpy(np.where(np.asarray(values)[at] == truth, at, UNKNOWN))


def _read_array(path: Path) -> np.ndarray:
    """The array of a file; of several the one that nnU-Net calls `probabilities` or `softmax`."""
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            single = isinstance(content, np.ndarray)
            arrays = {"": content} if single else {name: content[name] for name in _names(content)}
    except (ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise ValueError("it cannot be read as arrays of numbers; save it again with np.save or np.savez") from error
    if len(arrays) != 1:
        check_known("probabilities", arrays, what="no array named")
    return next(iter(arrays.values()))


def _names(content: Mapping[str, np.ndarray]) -> list[str]:
    """The names that an archive's probabilities may have."""
    return [name for name in ("probabilities", "softmax") if name in content][:1] or list(content)
