"""Scans in, masks on the same grid out: one checkpoint of volumes, one scan or thousands.

Legend: image (C, D, H, W), label (D, H, W).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from densevit.checkpoint import Checkpoint, build_model, open_checkpoint
from densevit.devices import pick_device
from densevit.files import check_writable
from densevit.inference.memory import is_out_of_memory
from densevit.normalization import create_normalization
from densevit.predictor.cleaning import Cleaning
from densevit.predictor.labels import label_image
from densevit.predictor.overlap import overlapped
from densevit.predictor.scans import Scan, find_scans
from densevit.predictor.stopwatch import Stopwatch
from densevit.predictor.volume_outputs import Predicted, Preview, ResultFolder
from densevit.progress import Bars
from densevit.units import parse_bytes
from densevit.volumes.read_options import REFUSING, ReadOptions
from densevit.volumes.resample import check_memory, prepare_image
from densevit.volumes.volume import Volume, open_volume

logger = logging.getLogger("densevit")


class VolumePredictor:
    """A scan (a path, a list of one file a channel, or a `Volume`) -> its label map (D, H, W), on the scan's own grid,
    of the values that the training files had.

    `checkpoint` is one weights.safetensors of a 3D model (or its folder). A scan is normalised and resampled as in
    training; logits of its windows are interpolated back and become labels slab by slab. `amp` is "bf16" or "fp16";
    `max_memory` bounds what windows take; `read` says how scans are read, `clean` what is made tidy afterwards; what
    else is given overrides the header's inference. Raises FileNotFoundError, and ValueError for a file that is no such
    checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | Path | Checkpoint,
        *,
        device: str | torch.device = "cpu",
        amp: str | None = None,
        max_memory: int | str | None = None,
        read: ReadOptions = REFUSING,
        clean: Cleaning | None = None,
        **inference: Any,
    ):
        opened = open_checkpoint(checkpoint)
        self.header = opened.header
        self.normalize = create_normalization(self.header.normalization)
        self.inference = self.header.inference.override(**inference).on_axes(3)
        self.clean = clean or Cleaning()
        self.clean.check(self.header.classes, self.header.values)
        self.device = pick_device(device)
        self.amp = amp
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        self.read = read
        self.model: nn.Module = build_model(opened).to(self.device)

    def __call__(self, scan: str | Path | Sequence[str | Path] | Volume) -> np.ndarray:
        volume = scan if isinstance(scan, Volume) else open_volume(scan, options=self.read)
        return self.label(self.prepare(volume), volume.grid.size)

    def prepare(self, volume: Volume) -> np.ndarray:
        """What the network sees of a scan: float32 (C, *S), normalised, at the spacing of training."""
        if len(volume.image) != self.header.in_channels:
            raise ValueError(
                f"{volume.path} has {len(volume.image)} channels, and the model takes {self.header.in_channels}; give "
                "it the scans that it was trained on, with channels on a fourth axis or as NAME_0000, NAME_0001, ..."
            )
        spacing = self.header.spacing
        limits = dict(spacing=spacing, channels=len(volume.image), max_bytes=self.read.max_bytes)
        check_memory(volume.path, volume.grid, **limits)
        return prepare_image(volume.image, volume.grid, normalize=self.normalize, spacing=spacing)

    @torch.inference_mode()
    def label(self, image: np.ndarray, size: Sequence[int], *, stopwatch: Stopwatch | None = None) -> np.ndarray:
        """A prepared scan (C, *S) -> the file's values (*size), made tidy where that is asked for."""
        stopwatch = stopwatch or Stopwatch()
        label = label_image(
            self.model,
            torch.from_numpy(image),
            size=size,
            options=self.inference,
            device=self.device,
            amp=self.amp,
            max_memory=self.max_memory,
            stopwatch=stopwatch,
        )
        header = self.header
        with stopwatch.measure("clean"):
            label = header.values[label]
            self.clean(label, classes=header.classes, values=header.values)
        return label


@dataclass
class VolumeReport:
    """What became of each scan, by its (first) file: the masks `written`, `resumed` (done before), or `failed` for a
    reason."""

    written: dict[Path, Path] = field(default_factory=dict)
    resumed: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)

    def add(self, scan: Scan, outcome: Path | Exception) -> None:
        """Take down where a scan's mask was written, or say why there is none."""
        if isinstance(outcome, Exception):
            self.failed[scan.path] = _reason(outcome, scan)
            logger.error("skipped: %s", self.failed[scan.path])
        else:
            self.written[scan.path] = outcome


def predict_volumes(
    predictor: VolumePredictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    resume: bool = False,
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
    dicom_seg: bool = False,
    preview: Preview | None = None,
) -> VolumeReport:
    """Predict scans and folders of them; masks go to `output`, as NAME.nii.gz on the scan's own grid.

    Beside each mask lies NAME.json with what was measured of every structure, and volumes.csv lists them all.
    `dicom_seg` adds NAME.dcm for DICOM series, `preview` (`densevit.report.preview.save_preview`) NAME.png.
    While one scan is predicted, the next is read and the last one written. `resume` leaves alone the scans whose
    results exist. A scan that cannot be read, predicted or written is logged as an error, listed in the report and
    skipped. Raises FileNotFoundError for inputs that do not exist, ValueError for two that would be written under one
    name, and PermissionError or NotADirectoryError for an output that takes no files.
    """
    header = predictor.header
    folder = ResultFolder(Path(output), header.classes, header.values, dicom_seg=dicom_seg, preview=preview)
    scans = find_scans(inputs, channels=header.in_channels, exclude=folder.path)
    check_writable(folder.path)
    rank, size = share
    scans = scans[rank::size]
    done = {scan for scan in scans if resume and folder.is_complete(scan)}
    waiting = [scan for scan in scans if scan not in done]
    report = VolumeReport(resumed=[scan.path for scan in scans if scan in done])
    with Bars(enabled=progress and rank == 0) as bars:
        steps = Steps(predictor)
        bars.show("predict", len(done), len(scans))
        outcomes = overlapped(waiting, read=steps.read, work=steps.label, write=folder.write, expected=_is_of_the_scan)
        for count, (scan, outcome) in enumerate(outcomes, start=len(done) + 1):
            report.add(scan, outcome)
            bars.show("predict", count, len(scans))
    folder.write_tables()
    return report


@dataclass(frozen=True)
class Steps:
    """The steps of one scan that come before writing."""

    predictor: VolumePredictor

    def read(self, scan: Scan) -> tuple[Volume, np.ndarray, Stopwatch]:
        """The scan, and what the network sees of it."""
        stopwatch = Stopwatch()
        with stopwatch.measure("load"):
            volume = open_volume(scan.source, options=self.predictor.read)
        with stopwatch.measure("prepare"):
            return volume, self.predictor.prepare(volume), stopwatch

    def label(self, scan: Scan, read: tuple[Volume, np.ndarray, Stopwatch]) -> Predicted:
        volume, image, stopwatch = read
        logger.info("%s: %s voxels, seen as %s", scan.path, volume.grid.size, image.shape[1:])
        return Predicted(volume, self.predictor.label(image, volume.grid.size, stopwatch=stopwatch), stopwatch)


def _is_of_the_scan(error: Exception) -> bool:
    """Whether an error says something about one scan, so that the others go on."""
    return isinstance(error, OSError | ValueError) or is_out_of_memory(error)


def _reason(error: Exception, scan: Scan) -> str:
    """One line that names the file."""
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror.lower()}: {error.filename}" if error.filename else error.strerror.lower()
    if is_out_of_memory(error):
        return f"{scan.path}: not enough memory ({text}); windows take less with max_memory or a smaller roi_size"
    return text if str(scan.path) in text else f"{scan.path}: {text}"
