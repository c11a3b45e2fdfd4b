"""Scans read and prepared for a model: files, series and arrays."""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import create_normalization
from densevit.predictor.inputs import Input
from densevit.predictor.scan_files import find_scans
from densevit.volumes.grid import Grid
from densevit.volumes.modality import check_modality
from densevit.volumes.read_options import REFUSING, ReadOptions
from densevit.volumes.resample import check_memory, prepare_image
from densevit.volumes.volume import Volume, open_volume

logger = logging.getLogger("densevit")


class ScanReader:
    """Scans for a checkpoint: of as many channels as its header says, normalised and resampled as in training."""

    def __init__(self, header: Header, read: ReadOptions = REFUSING):
        self.channels, self.spacing = header.image_channels, header.spacing
        self.modalities, self.images = header.modalities, header.images or ()
        self.normalize = create_normalization(header.normalization)
        self.read = read

    def find(
        self, inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
    ) -> list[Input]:
        """See `find_scans`."""
        options = dict(channels=self.channels, images=self.images, modality=self.read.modality)
        return find_scans(inputs, recursive=recursive, exclude=exclude, **options)

    def open(self, source: str | Path | Sequence[str | Path] | Volume | np.ndarray | Tensor) -> Volume:
        """What `open_volume` reads, or an array or tensor (D, H, W) or (C, D, H, W) at the spacing of training."""
        if isinstance(source, Volume):
            return source
        if not isinstance(source, np.ndarray | Tensor):
            return open_volume(source, options=self.read)
        image = source.detach().cpu().numpy() if isinstance(source, Tensor) else source
        if image.dtype.kind not in "uif" or image.ndim not in (3, 4) or not image.size:
            raise ValueError(
                f"expected a scan or an array (D, H, W) or (C, D, H, W), got {image.dtype} of shape {image.shape}"
            )
        image = image.reshape(-1, *image.shape[-3:]).astype(np.float32)
        affine = np.diag([*(self.spacing or (1.0, 1.0, 1.0))[::-1], 1.0])
        return Volume(image, Grid(image.shape[1:], affine), Path("array"), affine)

    def prepare(self, opened: Volume) -> np.ndarray:
        """What the network sees of a scan: float32 (C, *S), normalised, at the spacing of training.

        ValueError for another number of channels, and for a scan that is known to be of another modality or unit.
        """
        if len(opened.image) != self.channels:
            raise ValueError(
                f"{opened.path} has {len(opened.image)} channels, and the model takes {self.channels}; give it the "
                "scans that it was trained on, with channels on a fourth axis or as NAME_0000, NAME_0001, ..."
            )
        check_modality(opened.path, opened.modalities, self.modalities)
        if not any(opened.modalities):
            self._warn_of_no_air(opened)
        limits = dict(spacing=self.spacing, channels=self.channels, max_bytes=self.read.max_bytes)
        check_memory(opened.path, opened.grid, **limits)
        return prepare_image(opened.image, opened.grid, normalize=self.normalize, spacing=self.spacing)

    def _warn_of_no_air(self, opened: Volume) -> None:
        """Say so where a file that tells no modality can hardly be in Hounsfield units, of which air has -1000."""
        for modality, channel in zip(self.modalities, opened.image, strict=True):
            if modality == "CT" and channel.min() >= 0:
                logger.warning(
                    "%s holds no value below 0, and the model is for Hounsfield units, in which air is about -1000: is "
                    "it a CT, and were its values rescaled?",
                    opened.path,
                )
