"""Pairs of volume and label file as a data set: `dataset[i]` is a normalised volume, its classes and where it lies."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from densevit.datasets.base import check_classes
from densevit.datasets.colors import IGNORE, default_palette
from densevit.datasets.nifti import check_same_grid, read_grid, read_label_volume, read_volume

SPACING_TOLERANCE = 1e-3  # relative: how much the spacing may vary within a set


class VolumeDataset:
    """Volumes with one label map each; `files` are (image, label) paths, `label_values` the file's value of each class.

    Intensities are clipped to the case's own `percentiles`, then brought to mean 0 and deviation 1 by channel.
    """

    ignore_index = IGNORE
    spatial_dims = 3

    def __init__(
        self,
        files: Sequence[tuple[str, str]],
        *,
        classes: Sequence[str],
        label_values: Sequence[int],
        in_channels: int = 1,
        percentiles: tuple[float, float] = (0.5, 99.5),
    ):
        low, high = percentiles
        if not 0 <= low < high <= 100:
            raise ValueError(f"percentiles must be two rising numbers from 0 to 100, got {percentiles}")
        self.files = list(files)
        self.classes = check_classes(classes)
        self.palette = default_palette(len(self.classes))
        self.label_values = np.array(label_values, np.int64)
        self.in_channels = in_channels
        self.percentiles = (low, high)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def has_labels(self) -> bool:
        return True

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels (D, H, W), of the first case; `check` makes sure that all have the same."""
        return read_grid(self.files[0][0]).spacing

    @property
    def normalization(self) -> dict:
        """How intensities are made comparable, for the header of a checkpoint."""
        return dict(type="zscore", percentiles=list(self.percentiles))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        """dict(image=float32 (C, D, H, W), label=uint8 (D, H, W), meta with spacing (D, H, W) and affine)."""
        image_path, label_path = self.files[index]
        image, grid = read_volume(image_path)
        if len(image) != self.in_channels:
            raise ValueError(f"{image_path} has {len(image)} channels, and {self.in_channels} are expected of this set")
        label, label_grid = read_label_volume(label_path)
        check_same_grid((image_path, grid), (label_path, label_grid))
        meta = dict(image=image_path, label=label_path, size=grid.size, spacing=grid.spacing, affine=grid.affine)
        return dict(
            image=normalize_volume(image, percentiles=self.percentiles),
            label=self._decode(label, path=label_path),
            meta=meta,
        )

    def check(self) -> None:
        """Look at every case once: ValueError for a wrong label value, grids that differ, or spacings that vary."""
        with ThreadPoolExecutor(4) as pool:
            spacings = list(pool.map(self._check_case, self.files))
        for (path, _), spacing in zip(self.files, spacings, strict=True):
            if not np.allclose(spacing, spacings[0], rtol=SPACING_TOLERANCE, atol=0):
                shown = [" x ".join(f"{s:.4g}" for s in values) for values in (spacing, spacings[0])]
                raise ValueError(
                    f"the voxels of {path} are {shown[0]} mm and those of {self.files[0][0]} {shown[1]} mm; "
                    "resample all cases to one spacing first"
                )

    def _check_case(self, pair: tuple[str, str]) -> tuple[float, float, float]:
        image_path, label_path = pair
        label, label_grid = read_label_volume(label_path)
        self._decode(label, path=label_path)
        grid = read_grid(image_path)
        check_same_grid((image_path, grid), (label_path, label_grid))
        return grid.spacing

    def _decode(self, values: np.ndarray, *, path: str) -> np.ndarray:
        """The file's values -> class numbers, uint8."""
        order = np.argsort(self.label_values)
        place = np.searchsorted(self.label_values, values, sorter=order).clip(max=len(order) - 1)
        label = order[place]
        wrong = np.unique(values[self.label_values[label] != values])
        if len(wrong):
            known = ", ".join(f"{v} ({name})" for v, name in zip(self.label_values, self.classes, strict=True))
            raise ValueError(
                f"{path} holds {', '.join(map(str, wrong[:5]))}, and the labels are {known}; correct one of them"
            )
        return label.astype(np.uint8)


def normalize_volume(image: np.ndarray, *, percentiles: tuple[float, float] = (0.5, 99.5)) -> np.ndarray:
    """(C, D, H, W), any range -> float32 of mean 0 and deviation 1 by channel, clipped at `percentiles` before."""
    low, high = np.percentile(image, percentiles, axis=(1, 2, 3), keepdims=True)
    clipped = np.clip(image.astype(np.float64), low, high)
    mean, std = (f(clipped, axis=(1, 2, 3), keepdims=True) for f in (np.mean, np.std))
    return ((clipped - mean) / np.where(std > 0, std, 1)).astype(np.float32)


def class_table(labels: Mapping[str, str], *, path: str) -> tuple[list[str], list[int]]:
    """`{"0": "background", "1": "Anterior"}` -> names and file values, in the order of values."""
    if not isinstance(labels, Mapping) or not labels or not all(str(key).isdigit() for key in labels):
        raise ValueError(f'{path} needs "labels" such as {{"0": "background", "1": "liver"}}, got {labels!r}')
    pairs = sorted((int(value), str(name)) for value, name in labels.items())
    return [name for _, name in pairs], [value for value, _ in pairs]
