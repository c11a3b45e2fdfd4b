"""Scans found, read and prepared for a model: files, folders of them, DICOM series, one file a channel, and arrays."""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from densevit.checkpoint import Header
from densevit.normalization import create_normalization
from densevit.predictor.inputs import Input, find_paths, name_inputs
from densevit.volumes.grid import Grid
from densevit.volumes.modality import check_modality
from densevit.volumes.paths import FILE_ENDINGS, READABLE, case_name, looks_like_dicom, walk_files
from densevit.volumes.resample import check_memory, prepare_image
from densevit.volumes.seen_scan import SeenScan
from densevit.volumes.volume import REFUSING, ReadOptions, Volume, open_volume

logger = logging.getLogger("densevit")
NUMBERED = re.compile(r"(.+)_(\d{4})")
Place = tuple[Path, Path, tuple[Path, ...]]  # what `name_inputs` takes


class ScanReader:
    """Scans for a checkpoint: of as many channels as its header says, normalised and resampled as in training."""

    def __init__(self, header: Header, read: ReadOptions = REFUSING):
        self.channels, self.spacing, self.scans = header.image_channels, header.spacing, header.scans
        self.modalities, self.read = header.modalities, read
        self.normalize = create_normalization(header.normalization)
        self.find = partial(find_scans, channels=self.channels, images=header.images or (), modality=read.modality)

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
        spacing = self.spacing if self.scans is None else self.scans.array_spacing
        affine = np.diag([*(spacing or (1.0, 1.0, 1.0))[::-1], 1.0])
        return Volume(image, Grid(image.shape[1:], affine), Path("array"), affine)

    def prepare(self, opened: Volume) -> np.ndarray | SeenScan:
        """What the network sees of a scan: float32 (C, *S), normalised, at the spacing of training.

        ValueError for another number of channels, and for a scan that is known to be of another modality or unit.
        """
        path, image = opened.path, opened.image
        if len(image) != self.channels:
            raise ValueError(
                f"{path} has {len(image)} channels, and the model takes {self.channels}; give it the scans that it was "
                "trained on, with channels on a fourth axis or as NAME_0000, NAME_0001, ..."
            )
        check_modality(path, opened.modalities, self.modalities)
        if not any(opened.modalities):
            for modality, channel in zip(self.modalities, image, strict=True):
                if modality == "CT" and channel.min() >= 0:
                    logger.warning(
                        "%s holds no value below 0, and the model is for Hounsfield units, in which air is about "
                        "-1000: is it a CT, and were its values rescaled?",
                        path,
                    )
        if self.scans is not None:
            return self.scans.see(opened, normalize=self.normalize, max_bytes=self.read.max_bytes)
        check_memory(path, opened.grid, spacing=self.spacing, channels=self.channels, max_bytes=self.read.max_bytes)
        return prepare_image(image, opened.grid, normalize=self.normalize, spacing=self.spacing)


@dataclass(frozen=True)
class Look:
    """How scans are looked for, see `find_scans`."""

    channels: int
    recursive: bool
    images: Sequence[str]
    modality: str | None
    exclude: Path | None

    def channel(self, path: Path) -> tuple[str, int] | None:
        """What * stands for in the name of a file or folder, and the number of its channel, where `images` says so."""
        for number, pattern in enumerate(self.images):
            match = re.fullmatch(re.escape(pattern).replace(r"\*", "(.+)", 1), path.name, re.DOTALL)
            if match:
                return "".join(match.groups()), number
        return None


def find_scans(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int = 1,
    recursive: bool = False,
    images: Sequence[str] = (),
    modality: str | None = None,
    exclude: Path | None = None,
) -> list[Input]:
    """The scans that files, folders and globs name, see `find_paths`, called as `name_inputs` says.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, and for DICOM series: itself if it holds DICOM files,
    otherwise each of its subfolders that does, unless they are all structure sets, segmentations and the like, or none
    of them is of the `modality`. One DICOM file stands for its series, and all of a folder for it. `recursive` goes
    into subfolders of subfolders too.
    Where files are called as the channels of training were (`images`: "t1.nii.gz", "*_t1.nii"), they are the scans of a
    folder and of its subfolders, and others are left out with a warning. Else files NAME_0000, NAME_0001, ... of as
    many as the model has `channels` are one scan NAME, as nnU-Net stores them; with one channel NAME_0000 is NAME,
    unless NAME_0001 is there.

    Raises FileNotFoundError for what is not there, and ValueError for a scan that lies just where results are written.
    """
    look = Look(channels, recursive, images, modality, exclude)
    roots = dict(find_paths(inputs, look_in=partial(_scans_in, look=look), exclude=exclude))
    scans = name_inputs(_grouped(_series_together(roots), look, roots), ending=".nii.gz")
    for scan in scans if exclude is not None else ():
        if exclude.resolve() in (scan.path.parent.resolve(), scan.path.resolve()):
            raise ValueError(f"a mask would overwrite {scan.path}, which is read from; give another output folder")
    return scans


def is_dicom(path: Path) -> bool:
    """Whether a path is the folder of a DICOM series, or one of its files."""
    return path.is_dir() or (path.is_file() and not _is_volume_file(path) and looks_like_dicom(path))


def _scans_in(folder: Path, look: Look) -> list[Path]:
    found = _below(folder, look)
    if not found:
        raise FileNotFoundError(_nothing_in(folder, look))
    called = [path for path in found if look.channel(path) is not None]
    others = [path for path in found if path not in called and _is_volume_file(path)] if called else []
    if others:
        logger.warning(
            "%d files in %s are left out, such as %s: in training scans were called %s; name a file to predict it",
            *(len(others), folder, others[0], ", ".join(look.images)),
        )
    return [path for path in found if path not in others]


def _below(folder: Path, look: Look) -> list[Path]:
    """Files of scans, and folders that are DICOM series, in a folder and as far below as is looked for."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if not path.is_dir()]  # also links that lead nowhere: they are missed aloud
    folders = [path for path in visible if path.is_dir()]
    if look.exclude is not None:
        folders = [path for path in folders if path.resolve() != look.exclude.resolve()]
    found = [path for path in files if _is_volume_file(path)]
    channels = [path for path in folders if look.channel(path) is not None]
    if channels:  # one series a channel
        return found + channels
    is_series = any(map(is_dicom, files))
    found += [folder] * is_series
    for each in folders if look.recursive or not is_series else []:
        if look.recursive:
            below = [path for path in _below(each, look) if path != each or _holds_images(each, look.modality)]
        else:
            below = [path for path in sorted(each.iterdir()) if look.channel(path) is not None]
            below = below or [each] * _holds_images(each, look.modality)
        found += below or [each] * _is_volume_file(each)  # a folder that is called as scans are is missed aloud
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


def _nothing_in(folder: Path, look: Look) -> str:
    files = [path for path in walk_files(folder) if path.parent != folder]
    below = [path for path in files if _is_volume_file(path)]
    if below and not look.recursive:
        return (
            f"{folder} itself holds no scan, its subfolders hold {len(below)}, such as {below[0]}: name those folders, "
            "or add --recursive to go into them"
        )
    if any(map(looks_like_dicom, files)):
        kind = "an image" if look.modality is None else f"an image of modality {look.modality!r}"
        return f"{folder} holds DICOM files without {kind}; give a CT, MR or PET series"
    return f"{folder} holds no scan; what is looked for is {READABLE}"


def _is_volume_file(path: Path) -> bool:
    return path.name.lower().endswith(FILE_ENDINGS)


def _series_together(paths: Iterable[Path]) -> list[Path]:
    """Several DICOM files of a folder, as `folder/*.dcm` names them, become what stands for them."""
    by_folder: dict[Path, list[Path]] = {}
    for path in paths:
        if path.is_file() and is_dicom(path):
            by_folder.setdefault(path.parent, []).append(path)
    scans: dict[Path, None] = {}
    for path in paths:
        files = by_folder.get(path.parent, [])
        if len(files) > 1 and path in files:
            from densevit.volumes.formats.dicom_series import stand_ins  # which brings pydicom

            scans |= dict.fromkeys(stand_ins(files) if path == files[0] else [])
        else:
            scans[path] = None
    return list(scans)


def _grouped(paths: Iterable[Path], look: Look, roots: Mapping[Path, Path]) -> Iterator[Place]:
    """Channels that lie in files of their own brought together, each scan where its first file was.

    A scan is called by what its files share or, if they are called alike in every folder, by the folder.
    """
    groups: dict[tuple[Path, str], dict[int | Path, Path]] = {}
    for path in paths:
        stem, number = look.channel(path) or _numbered(path)
        groups.setdefault((path.parent, stem), {})[path if number is None else number] = path
    for (folder, stem), group in groups.items():
        if set(group) != set(range(look.channels)):
            yield from ((folder / case_name(path), roots.get(path, folder), (path,)) for path in group.values())
            continue
        files = tuple(group[i] for i in range(look.channels))
        shared = stem.strip("_-. ")
        if look.channels == 1 and stem and look.channel(files[0]) is not None:
            shared = case_name(files[0])
        yield folder / shared, roots.get(files[0], folder), files


def _numbered(path: Path) -> tuple[str, int | None]:
    """`heart_0001.nii.gz` -> ("heart", 1); without such an ending None."""
    match = NUMBERED.fullmatch(case_name(path)) if _is_volume_file(path) else None
    return (match[1], int(match[2])) if match else (case_name(path), None)
