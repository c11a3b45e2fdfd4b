"""Readers for MONAI's pipelines that read scans as `densevit predict` does: the same formats and the same checks."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import ImageReader
from monai.transforms import LoadImaged

from densevit.volumes.volume import ReadOptions, Volume, open_volume

MODALITY = "modality"  # in the meta of a scan: what each channel is, "" where its file does not say


class ScanReader(ImageReader):
    """A reader of scans as arrays (C, X, Y, Z) on the file's own axes; several files are channels of one scan.

    Reads what `densevit.volumes.volume.open_volume` reads, and refuses what it refuses; the keywords are those of
    `ReadOptions`. Use it through `LoadImageScand`: LoadImaged hands what a reader refuses to its other readers.
    """

    def __init__(
        self,
        *,
        geometry: str | None = None,
        series: str | None = None,
        allow_gantry_tilt: bool = False,
        on_missing: str = "error",
    ):
        super().__init__()
        self.options = ReadOptions(
            geometry=geometry, series=series, allow_gantry_tilt=allow_gantry_tilt, on_missing=on_missing
        )

    def verify_suffix(self, filename: Any) -> bool:
        return True

    def read(self, data: str | Sequence[str], **_: Any) -> Volume:
        paths = [data] if isinstance(data, str) else list(data)
        return open_volume(paths[0] if len(paths) == 1 else paths, options=self.options)

    def get_data(self, img: Volume) -> tuple[np.ndarray, dict[str, Any]]:
        """(C, X, Y, Z) float32, and its place: affine (4, 4) in mm, right, anterior, superior."""
        values = np.stack([img.on_own_axes(channel) for channel in img.image])
        meta = dict(
            affine=np.array(img.affine, np.float64),
            original_affine=np.array(img.affine, np.float64),
            spatial_shape=np.array(values.shape[1:]),
            space="RAS",
            original_channel_dim=0,
        )
        meta[MODALITY] = img.modalities
        return values, meta


class LoadImageScand(LoadImaged):
    """LoadImaged with `ScanReader` alone: what that reader refuses is an error, in its own words.

    The keywords are those of `ReadOptions`. MONAI Label and MONAI Deploy recognise it by its
    base class and its name, and put images from memory in its place.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        geometry: str | None = None,
        series: str | None = None,
        allow_gantry_tilt: bool = False,
        on_missing: str = "error",
        allow_missing_keys: bool = False,
    ):
        self.reader = ScanReader(
            geometry=geometry, series=series, allow_gantry_tilt=allow_gantry_tilt, on_missing=on_missing
        )
        super().__init__(keys, reader=self.reader, allow_missing_keys=allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any], reader: ImageReader | None = None) -> dict[Hashable, Any]:
        return super().__call__(data, self.reader if reader is None else reader)
