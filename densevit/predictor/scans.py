"""Which scans the inputs of a command name: files, folders of them, DICOM series, one file a channel."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import create_normalization
from densevit.predictor.inputs import Input
from densevit.volumes.grid import Grid
from densevit.volumes.modality import check_modality
from densevit.volumes.paths import FILE_ENDINGS, READABLE, case_name, looks_like_dicom, walk_files
from densevit.volumes.read_options import REFUSING, ReadOptions
from densevit.volumes.resample import check_memory, prepare_image
from densevit.volumes.volume import Volume, open_volume

logger = logging.getLogger("densevit")
CHANNEL = re.compile(r"(.+)_(\d{4})")


class ScanReader:
    """Scans for a checkpoint: of as many channels as its header says, normalised and resampled as in training."""

    def __init__(self, header: Header, read: ReadOptions = REFUSING):
        self.channels, self.spacing = header.image_channels, header.spacing
        self.modalities = header.modalities
        self.normalize = create_normalization(header.normalization)
        self.read = read

    def find(
        self, inputs: str | Path | Iterable[str | Path], *, recursive: bool = False, exclude: Path | None = None
    ) -> list[Input]:
        """See `find_scans`."""
        if recursive:
            raise ValueError("recursive is for pictures, and this is a checkpoint of volumes; name the folders")
        return find_scans(inputs, channels=self.channels, exclude=exclude, modality=self.read.modality)

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


def is_dicom(scan: Input) -> bool:
    """Whether a scan is a DICOM series or one of its files."""
    return scan.path.is_dir() or (scan.path.is_file() and _is_dicom_file(scan.path))


def find_scans(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int = 1,
    exclude: Path | None = None,
    modality: str | None = None,
) -> list[Input]:
    """The scans that files, folders and globs name, each once, sorted within a folder.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, and for DICOM series: itself if it holds DICOM files,
    otherwise each of its subfolders that does, unless they are all structure sets, segmentations and the like, or none
    of them is of the `modality` that is asked for. One DICOM file stands for its series, and all of a folder for it.
    Files NAME_0000, NAME_0001, ... of as many as the model has `channels` are one scan NAME, as nnU-Net stores them;
    with one channel NAME_0000 is NAME, unless NAME_0001 is there. FileNotFoundError for what is not there, ValueError
    for two scans of one name, and for one in the folder `exclude`, where results are written.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    found: list[Path] = []
    for each in named:
        for path in _matches(each):
            found += _scans_in(path, modality) if path.is_dir() else [path]
    scans = _grouped(_series_together(found), channels)
    taken: dict[str, Path] = {}
    for scan in scans:
        other = taken.setdefault(scan.name, scan.path)
        if other != scan.path:
            raise ValueError(f"{other} and {scan.path} would both be written as {scan.name}.nii.gz; rename one")
        if exclude is not None and exclude.resolve() in (scan.path.parent.resolve(), scan.path.resolve()):
            raise ValueError(f"a mask would overwrite {scan.path}, which is read from; give another output folder")
    return scans


def _matches(named: str | Path) -> list[Path]:
    """The paths that are there for one thing that a user named."""
    path = Path(named)
    if not str(named):
        raise FileNotFoundError("one of the inputs is an empty text; name a scan, a folder or a glob")
    if path.exists():
        return [path]
    found = sorted(map(Path, glob.glob(str(named), recursive=True))) if glob.has_magic(str(named)) else []
    if not found:
        raise FileNotFoundError(f"no such file or folder: {path}; check the path")
    return found


def _scans_in(folder: Path, modality: str | None) -> list[Path]:
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if not path.is_dir()]  # also links that lead nowhere: they are missed aloud
    found = [path for path in files if _is_volume_file(path)]
    if any(_is_dicom_file(path) for path in files if path.is_file()):
        return [*found, folder]
    folders = [path for path in visible if path.is_dir()]
    # A folder that is called as scans are is missed aloud.
    found += [path for path in folders if _is_volume_file(path) or _holds_images(path, modality)]
    if not found:
        raise FileNotFoundError(_nothing_in(folder, folders, modality))
    return found


def _holds_images(folder: Path, modality: str | None) -> bool:
    """Whether there are DICOM images in a folder, or files that say not what they are, for their reader to refuse."""
    from densevit.volumes.formats.dicom_file import is_dicom_image  # which brings pydicom

    for path in filter(looks_like_dicom, walk_files(folder)):
        try:
            if is_dicom_image(path, modality=modality):
                return True
        except (ValueError, OSError):
            return True
    return False


def _nothing_in(folder: Path, folders: Iterable[Path], modality: str | None) -> str:
    below = [path for each in folders for path in walk_files(each) if _is_volume_file(path)]
    if below:
        return (
            f"{folder} itself holds no scan, its subfolders hold {len(below)}, such as {below[0]}: name those folders"
        )
    if any(map(looks_like_dicom, (path for each in folders for path in walk_files(each)))):
        kind = "an image" if modality is None else f"an image of modality {modality!r}"
        return f"{folder} holds DICOM files without {kind}; give a CT, MR or PET series"
    return f"{folder} holds no scan; what is looked for is {READABLE}"


def _is_volume_file(path: Path) -> bool:
    return path.name.lower().endswith(FILE_ENDINGS)


def _is_dicom_file(path: Path) -> bool:
    return not _is_volume_file(path) and looks_like_dicom(path)


def _series_together(paths: Iterable[Path]) -> list[Path]:
    """Several DICOM files of a folder, as `folder/*.dcm` names them, become what stands for them; every path once."""
    first: dict[str, Path] = {}
    for path in paths:
        first.setdefault(os.path.abspath(path), path)
    paths = list(first.values())
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_file() and _is_dicom_file(path):
            by_folder.setdefault(path.parent, []).append(path)
    several = {path: files for files in by_folder.values() if len(files) > 1 for path in files}
    if not several:
        return paths
    from densevit.volumes.formats.dicom_series import stand_ins  # which brings pydicom

    together = {files[0]: stand_ins(files) for files in by_folder.values() if len(files) > 1}
    scans = (scan for path in paths for scan in (together.get(path, []) if path in several else [path]))
    return list(dict.fromkeys(scans))


def _grouped(paths: Iterable[Path], channels: int) -> list[Input]:
    """Channels that lie in files of their own brought together, each scan where its first file was."""
    groups: dict[Path, dict[int | Path, Path]] = {}
    for path in paths:
        stem, number = _channel(path)
        groups.setdefault(path.parent / stem, {})[path if number is None else number] = path
    return [scan for key, group in groups.items() for scan in _scans_of(key.name, group, channels)]


def _scans_of(stem: str, group: dict[int | Path, Path], channels: int) -> Iterator[Input]:
    if set(group) == set(range(channels)):
        yield Input(stem, tuple(group[i] for i in range(channels)))
        return
    for path in group.values():
        yield Input(case_name(path), (path,))


def _channel(path: Path) -> tuple[str, int | None]:
    """`heart_0001.nii.gz` -> ("heart", 1); without such an ending None."""
    match = CHANNEL.fullmatch(case_name(path)) if _is_volume_file(path) else None
    return (match[1], int(match[2])) if match else (case_name(path), None)
