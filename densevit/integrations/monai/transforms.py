"""Dictionary transforms for MONAI that do to a scan what `densevit predict` does, and undo it for a label map.

Legend: a loaded scan is a MetaTensor (C, X, Y, Z) on the file's own axes, a prepared one (C, D, H, W) toward superior,
anterior and right at the spacing of training. Its meta says where it came from: `scan_affine` (4, 4), `scan_size` (3,).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import MapTransform

from densevit.data.case import decode_label
from densevit.integrations.monai.reader import MODALITY
from densevit.normalization import ZSCORE, as_written_before, create_normalization
from densevit.volumes.formats.stored_volume import whole_numbers
from densevit.volumes.grid import Grid, check_same_grid
from densevit.volumes.modality import check_modality
from densevit.volumes.resample import prepare_image, resample_label, resampled_grid, working_size

AFFINE, SIZE = "scan_affine", "scan_size"  # in the meta of a prepared scan: of the scan as it was loaded
Sample = dict[Hashable, Any]


class PrepareScand(MapTransform):
    """A loaded scan -> what the network sees: on standard axes, normalised, at `spacing` mm (D, H, W) if given.

    `normalization` is a config of `densevit.normalization`; a z-score that does not say its percentiles is clipped, as
    bundles of before mean it. `modality` is what each channel must be, "" for anything (`densevit.volumes.modality`).
    Raises ValueError for values that are not finite, and for a scan that is known to be another kind of image.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        normalization: Mapping[str, Any] = ZSCORE,
        spacing: Sequence[float] | None = None,
        modality: Sequence[str] = (),
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.normalize = create_normalization(as_written_before(normalization))
        self.modality = tuple(modality)
        self.spacing = None if spacing is None else tuple(spacing)

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        sample = dict(data)
        for key in self.key_iterator(sample):
            scan = _loaded(sample[key], key)
            image, grid = to_standard(_numbers(scan), _affine(scan))
            _check_finite(image, _name(scan, key))
            check_modality(_name(scan, key), scan.meta.get(MODALITY, ()), self.modality)
            image = prepare_image(np.ascontiguousarray(image), grid, normalize=self.normalize, spacing=self.spacing)
            sample[key] = _placed(image, scan, resampled_grid(grid, image.shape[1:]), own=scan)
        return sample


class PrepareLabeld(MapTransform):
    """A loaded label map -> class numbers (1, D, H, W) on the voxels of its prepared scan.

    `label_values` are the files' values of the classes; with `classes` errors name them. `image_key` names the scan,
    prepared before; ValueError, saying by how much, where the label does not lie on it. `resample=False` gives class
    numbers on the file's own axes and grid instead, as predictions are scored.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        label_values: Sequence[int],
        classes: Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        image_key: Hashable = "image",
        resample: bool = True,
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.values = np.array(label_values, np.int64)
        self.classes = tuple(classes or map(str, label_values))
        self.spacing = None if spacing is None else tuple(spacing)
        self.image_key = image_key
        self.resample = resample

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        sample = dict(data)
        for key in self.key_iterator(sample):
            label = _loaded(sample[key], key)
            name = _name(label, key)
            classes = self._decode(_numbers(label), name)
            turned, grid = to_standard(classes, _affine(label))
            check_same_grid(self._scan(sample), (name, grid))
            if self.resample:
                small = resample_label(turned[0], working_size(grid, self.spacing))
                sample[key] = _placed(small[None], label, resampled_grid(grid, small.shape), own=label)
            else:
                sample[key] = MetaTensor(torch.from_numpy(classes), meta=dict(label.meta))
        return sample

    def _decode(self, values: np.ndarray, name: str) -> np.ndarray:
        if len(values) != 1:
            raise ValueError(f"{name} has {len(values)} channels, and a label map has one; save one label per voxel")
        return decode_label(whole_numbers(values, name), self.values, classes=self.classes, path=name)

    def _scan(self, sample: Sample) -> tuple[str, Grid]:
        image = sample.get(self.image_key)
        affine, size = own_place(image, self.image_key)
        return _name(image, self.image_key), to_standard(np.empty((1, *size), bool), affine)[1]


class RestoreLabeld(MapTransform):
    """Class numbers (1, D, H, W) on a scan's own voxels -> the file's values on the file's own axes, with its affine.

    It makes the result of `ScanInferer` ready for SaveImaged. `image_key` names the prepared scan in the same sample;
    `label_values` are the files' values of the classes, None keeps class numbers.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        label_values: Sequence[int] | None = None,
        image_key: Hashable = "image",
        allow_missing_keys: bool = False,
    ):
        super().__init__(keys, allow_missing_keys)
        self.values = None if label_values is None else np.array(label_values)
        self.image_key = image_key

    def __call__(self, data: Mapping[Hashable, Any]) -> Sample:
        sample = dict(data)
        image = sample.get(self.image_key)
        affine, size = own_place(image, self.image_key)
        for key in self.key_iterator(sample):
            label = from_standard(_numbers(sample[key]), affine)
            if label.shape != (1, *size):
                raise ValueError(
                    f"{key!r} has {label.shape} voxels on the axes of its scan, which has {(1, *size)}; "
                    "densevit.integrations.monai.inferer.ScanInferer gives labels on the scan's own voxels"
                )
            values = label if self.values is None else self.values.astype(np.min_scalar_type(self.values.max()))[label]
            restored = torch.from_numpy(np.ascontiguousarray(values))
            meta = {**image.meta, "affine": affine, "spatial_shape": np.array(size)}
            sample[key] = MetaTensor(restored, affine=torch.from_numpy(affine), meta=meta)
        return sample


def own_place(image: Any, key: Hashable) -> tuple[np.ndarray, tuple[int, ...]]:
    """Affine (4, 4) and size (X, Y, Z) of the scan that a prepared one comes from; ValueError for another tensor."""
    meta = getattr(image, "meta", {})
    if AFFINE not in meta or SIZE not in meta:
        raise ValueError(
            f"{key!r} is no scan that PrepareScand prepared; put densevit.integrations.monai.transforms.PrepareScand "
            "before, and hand its MetaTensor on"
        )
    return np.array(meta[AFFINE], np.float64).reshape(4, 4), tuple(np.array(meta[SIZE]).reshape(3).tolist())


def _loaded(tensor: Any, key: Hashable) -> MetaTensor:
    if not isinstance(tensor, MetaTensor) or tensor.ndim != 4:
        shape = tuple(getattr(tensor, "shape", ()))
        raise ValueError(
            f"expected {key!r} to be a MetaTensor (C, X, Y, Z), got a {type(tensor).__name__} of shape {shape}; "
            "put LoadImaged and EnsureChannelFirstd before"
        )
    return tensor


def _placed(values: np.ndarray, tensor: MetaTensor, grid: Grid, *, own: MetaTensor) -> MetaTensor:
    """Values (C, D, H, W) with the meta of `tensor`, where `grid` says, remembering where they came from."""
    meta = {**tensor.meta, AFFINE: _affine(own), SIZE: np.array(own.shape[1:])}
    affine = torch.from_numpy(np.ascontiguousarray(tensor_affine(grid)))
    return MetaTensor(torch.from_numpy(np.ascontiguousarray(values)), affine=affine, meta=meta)


def _numbers(tensor: Any) -> np.ndarray:
    return (tensor.as_tensor() if isinstance(tensor, MetaTensor) else torch.as_tensor(tensor)).cpu().numpy()


def _affine(tensor: MetaTensor) -> np.ndarray:
    return tensor.affine.cpu().numpy().astype(np.float64)


def _name(tensor: Any, key: Hashable) -> str:
    """The name of the file, for messages."""
    named = getattr(tensor, "meta", {}).get("filename_or_obj", key)
    first: Iterable[Any] = named if isinstance(named, list | tuple) else [named]
    return str(next(iter(first)))


def _check_finite(values: np.ndarray, name: str) -> None:
    wrong = values.size - np.count_nonzero(np.isfinite(values))
    if wrong:
        raise ValueError(f"{name} holds {wrong} voxels that are no finite number; replace them, for example by 0")


def to_standard(values: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, Grid]:
    """(C, X, Y, Z) and its affine (4, 4) in mm -> a view (C, D, H, W) and its grid."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn, size = io_orientation(affine), values.shape[1:]
    turned = apply_orientation(np.moveaxis(values, 0, -1), turn)  # (right, anterior, superior, C)
    image = turned.transpose(3, 2, 1, 0)
    return image, Grid(image.shape[1:], affine @ inv_ornt_aff(turn, size))


def from_standard(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """(C, D, H, W) -> (C, X, Y, Z), the order of axes that the file's `affine` (4, 4) has."""
    from nibabel.orientations import apply_orientation, axcodes2ornt, io_orientation, ornt_transform

    back = ornt_transform(axcodes2ornt("RAS"), io_orientation(affine))
    return np.moveaxis(apply_orientation(image.transpose(3, 2, 1, 0), back), -1, 0)


def tensor_affine(grid: Grid) -> np.ndarray:
    """The affine (4, 4) of a tensor (C, D, H, W) on this grid: its columns are for steps along D, H and W."""
    return grid.affine[:, [2, 1, 0, 3]]
