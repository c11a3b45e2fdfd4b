"""Scans in, masks on the same grid out: one checkpoint of volumes, one scan or thousands.

Legend: image (C, D, H, W) normalised, label (D, H, W).
"""

import csv
import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from densevit.blocks.nd import resize
from densevit.datasets.read_options import REFUSING, ReadOptions
from densevit.datasets.replacing import replacing
from densevit.datasets.volume import NIFTI_ENDINGS, Volume, case_name, open_volume
from densevit.datasets.volumes import normalize_volume
from densevit.inference.memory import is_out_of_memory, keep_freed_memory, parse_bytes
from densevit.predictor.files import check_folder, progress_bar
from densevit.predictor.predictor import build_model, usable_device, weights_file
from densevit.predictor.volume_header import VolumeHeader, parse_volume_header
from densevit.predictor.volume_labels import label_volume
from densevit.weights import read_weights

logger = logging.getLogger("densevit")


class VolumePredictor:
    """A scan (a path, or a `Volume`) -> its label map (D, H, W), the file's own values, on the scan's own grid.

    `checkpoint` is one weights.safetensors of a 3D model (or its folder). A scan is normalised and resampled as in
    training; logits of its windows are interpolated back and become labels slab by slab. `amp` is "bf16" or "fp16";
    `max_memory` bounds what windows take; `read` says how scans are read.
    Raises FileNotFoundError, and ValueError for a file that is no such checkpoint.
    """

    def __init__(
        self,
        checkpoint: str | Path,
        *,
        device: str | torch.device = "cpu",
        amp: str | None = None,
        max_memory: int | str | None = None,
        read: ReadOptions = REFUSING,
        **inference: Any,
    ):
        path = weights_file(checkpoint)
        _, header = read_weights(path)
        self.header: VolumeHeader = parse_volume_header(header, path)
        self.inference = self.header.inference_options(inference)
        self.device = usable_device(device)
        self.amp = amp
        self.max_memory = None if max_memory is None else parse_bytes(max_memory)
        self.read = read
        self.model: nn.Module = build_model(self.header.model, path).eval().to(self.device)

    @torch.inference_mode()
    def __call__(self, scan: str | Path | Volume) -> np.ndarray:
        volume = scan if isinstance(scan, Volume) else open_volume(scan, options=self.read)
        if len(volume.image) != self.header.in_channels:
            raise ValueError(
                f"{volume.path} has {len(volume.image)} channels, and the model takes {self.header.in_channels}; "
                "give it the scans that it was trained on"
            )
        image = torch.from_numpy(normalize_volume(volume.image, **self.header.normalization))
        image = resize(image[None], self.header.working_size(volume.grid))[0]
        label = label_volume(
            self.model,
            image,
            size=volume.grid.size,
            inference=self.inference,
            device=self.device,
            amp=self.amp,
            max_memory=self.max_memory,
        )
        return self.header.values[label]


@dataclass
class VolumeReport:
    """What became of each scan: the masks `written`, `resumed` (done before), or `failed` for a reason."""

    written: dict[Path, Path] = field(default_factory=dict)
    resumed: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


@keep_freed_memory()
def predict_volumes(
    predictor: VolumePredictor,
    inputs: str | Path | Iterable[str | Path],
    output: str | Path,
    *,
    resume: bool = False,
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
) -> VolumeReport:
    """Predict NIfTI files and folders of them; masks go to `output`, as NAME.nii.gz on the scan's own grid.

    Beside each mask lies NAME.json with voxels and millilitres of every structure, and volumes.csv lists them all.
    `resume` leaves alone the scans whose mask and statistics exist. A scan that cannot be read or predicted is logged
    as an error, listed in the report and skipped. Raises FileNotFoundError for inputs that do not exist and ValueError
    for two that would be written under one name.
    """
    output = Path(output)
    scans = find_scans(inputs, exclude=output)
    check_folder(output)
    rank, size = share
    report = VolumeReport()
    with progress_bar(enabled=progress and rank == 0) as bar:
        for scan in bar.track(scans[rank::size], description="predict"):
            mask, statistics = output / f"{case_name(scan)}.nii.gz", output / f"{case_name(scan)}.json"
            if resume and mask.is_file() and statistics.is_file():
                report.resumed.append(scan)
                continue
            try:
                _predict_one(predictor, scan, mask, statistics)
                report.written[scan] = mask
            except (OSError, ValueError, MemoryError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                    raise
                text = " ".join(str(error).split())
                report.failed[scan] = text if str(scan) in text else f"{scan}: {text}"
                logger.error("skipped: %s", report.failed[scan])
    _write_table(output)
    return report


def find_scans(inputs: str | Path | Iterable[str | Path], *, exclude: Path | None = None) -> list[Path]:
    """The NIfTI files that files and folders name, each once, sorted within a folder; names must differ."""
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    scans: list[Path] = []
    for each in map(Path, named):
        if each.is_dir():
            found = sorted(path for path in each.iterdir() if path.name.endswith(NIFTI_ENDINGS))
            if not found:
                raise FileNotFoundError(
                    f"{each} holds no scan; files ending in {' or '.join(NIFTI_ENDINGS)} are looked for"
                )
            scans += found
        elif each.exists():
            scans.append(each)
        else:
            raise FileNotFoundError(f"no such file or folder: {each}; check the path")
    taken: dict[str, Path] = {}
    for scan in dict.fromkeys(scans):
        other = taken.setdefault(case_name(scan), scan)
        if other != scan:
            raise ValueError(f"{other} and {scan} would both be written as {case_name(scan)}.nii.gz; rename one")
        if exclude is not None and scan.parent.resolve() == exclude.resolve():
            raise ValueError(f"a mask would overwrite {scan}, which is read from; give another output folder")
    return list(taken.values())


def _predict_one(predictor: VolumePredictor, scan: Path, mask: Path, statistics: Path) -> None:
    volume = open_volume(scan, options=predictor.read)
    label = predictor(volume)
    header = predictor.header
    volume.write_label(label, mask, names=header.classes)
    milliliters = prod(volume.grid.spacing) / 1000
    counts = np.bincount(label.ravel(), minlength=int(header.values.max()) + 1)
    structures = {
        name: dict(label=int(value), voxels=int(counts[value]), ml=round(float(counts[value] * milliliters), 6))
        for name, value in zip(header.classes, header.values, strict=True)
    }
    content = dict(scan=str(scan), spacing=list(volume.grid.spacing), structures=structures)
    with replacing(statistics) as aside:
        aside.write_text(json.dumps(content, indent=1))


def _write_table(output: Path) -> None:
    """volumes.csv of all statistics that lie in the folder, whoever wrote them."""
    rows = []
    for path in sorted(output.glob("*.json")):
        content: Mapping[str, Any] = json.loads(path.read_text())
        if isinstance(content, dict) and "structures" in content:
            rows += [[path.stem, name, *row.values()] for name, row in content["structures"].items()]
    if rows:
        lines: list[str] = []
        writer = csv.writer(_Lines(lines), lineterminator="\n")
        writer.writerows([["case", "structure", "label", "voxels", "ml"], *rows])
        with replacing(output / "volumes.csv") as aside:
            aside.write_text("".join(lines))


class _Lines:
    """A file for the csv module that is a list."""

    def __init__(self, lines: list[str]):
        self.write = lines.append
