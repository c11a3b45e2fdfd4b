"""Which scans the inputs of a command name: files, folders of them, DICOM series, one file a channel."""

import glob
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from densevit.predictor.inputs import Input, fixed_part, is_below
from densevit.volumes.paths import FILE_ENDINGS, READABLE, case_name, looks_like_dicom, walk_files

logger = logging.getLogger("densevit")
NUMBERED = re.compile(r"(.+)_(\d{4})")


@dataclass(frozen=True)
class Look:
    """How scans are looked for: of as many `channels`, in subfolders of subfolders too if `recursive`, DICOM series of
    the `modality` where one is asked for, and files of each channel called as `images` says ("t1.nii.gz", "*_t1.nii").
    """

    channels: int = 1
    recursive: bool = False
    images: Sequence[str] = ()
    modality: str | None = None

    def channel(self, path: Path) -> tuple[str, int] | None:
        """What * stands for in the name of a file or folder, and the number of its channel, where `images` says so."""
        for number, pattern in enumerate(self.images):
            start, star, end = pattern.partition("*")
            if path.name == pattern:
                return "", number
            fits = path.name.startswith(start) and path.name.endswith(end) and len(path.name) > len(start + end)
            if star and fits:
                return path.name[len(start) : len(path.name) - len(end)], number
        return None


def is_dicom(scan: Input) -> bool:
    """Whether a scan is a DICOM series or one of its files."""
    return scan.path.is_dir() or (scan.path.is_file() and _is_dicom_file(scan.path))


def find_scans(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int = 1,
    recursive: bool = False,
    images: Sequence[str] = (),
    modality: str | None = None,
    exclude: Path | None = None,
) -> list[Input]:
    """The scans that files, folders and globs name, each once, sorted within a folder; `Look` says what is looked for.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, and for DICOM series: itself if it holds DICOM files,
    otherwise each of its subfolders that does, unless they are all structure sets, segmentations and the like, or none
    of them is of the modality that is asked for. One DICOM file stands for its series, and all of a folder for it.
    Where files are called as the channels of training were, they are the scans of a folder and of its subfolders, and
    others are left out with a warning. Else files NAME_0000, NAME_0001, ... of as many as the model has channels are
    one scan NAME, as nnU-Net stores them; with one channel NAME_0000 is NAME, unless NAME_0001 is there.

    A scan found below a folder, or below the fixed part of a glob, keeps its path relative to it; what lies in
    `exclude`, where results are written, is passed over. FileNotFoundError for what is not there, ValueError for two
    scans of one name, and for one that lies just where results are written.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    look, roots = Look(channels, recursive, images, modality), dict[Path, Path]()
    for each in named:
        for path, root in _matches(each):
            inside = exclude if exclude is not None and is_below(exclude, path) else None
            for scan in _scans_in(path, look, inside) if path.is_dir() else [path]:
                roots.setdefault(scan, path if path.is_dir() and root == path.parent else root)
    scans = _grouped(_series_together(roots), look, roots)
    taken: dict[str, Path] = {}
    for scan in scans:
        other = taken.setdefault(scan.name, scan.path)
        if other != scan.path:
            raise ValueError(
                f"{other} and {scan.path} would both be written as {scan.name}.nii.gz; rename one, or give the folder "
                "above both with --recursive, or a quoted glob such as 'data/*/scan.nii.gz'"
            )
        if exclude is not None and exclude.resolve() in (scan.path.parent.resolve(), scan.path.resolve()):
            raise ValueError(f"a mask would overwrite {scan.path}, which is read from; give another output folder")
    return scans


def _matches(named: str | Path) -> list[tuple[Path, Path]]:
    """The paths that are there for one thing that a user named, each with the folder that its name is relative to."""
    path = Path(named)
    if not str(named):
        raise FileNotFoundError("one of the inputs is an empty text; name a scan, a folder or a glob")
    if path.exists():
        return [(path, path.parent)]
    found = sorted(map(Path, glob.glob(str(named), recursive=True))) if glob.has_magic(str(named)) else []
    if not found:
        raise FileNotFoundError(f"no such file or folder: {path}; check the path")
    return [(match, fixed_part(path)) for match in found]


def _scans_in(folder: Path, look: Look, exclude: Path | None) -> list[Path]:
    found = _below(folder, look, exclude)
    if not found:
        raise FileNotFoundError(_nothing_in(folder, look))
    called = [path for path in found if look.channel(path) is not None]
    others = [path for path in found if path not in called and _is_volume_file(path)]
    if called and others:
        logger.warning(
            "%d files in %s are left out, such as %s: in training scans were called %s; name a file to predict it",
            *(len(others), folder, others[0], ", ".join(look.images)),
        )
    return [path for path in found if path not in others] if called else found


def _below(folder: Path, look: Look, exclude: Path | None) -> list[Path]:
    """Files of scans, and folders that are DICOM series, in a folder and as far below as is looked for."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if not path.is_dir()]  # also links that lead nowhere: they are missed aloud
    folders = [path for path in visible if path.is_dir() and (exclude is None or not is_below(path / "x", exclude))]
    channels = [path for path in folders if look.channel(path) is not None]
    if channels:  # one series a channel
        return [path for path in files if _is_volume_file(path)] + channels
    found = [path for path in files if _is_volume_file(path)]
    is_series = any(_is_dicom_file(path) for path in files if path.is_file())
    found += [folder] * is_series
    for each in folders if look.recursive or not is_series else []:
        called = [path for path in sorted(each.iterdir()) if look.channel(path) is not None]
        if look.recursive:
            below = [path for path in _below(each, look, exclude) if path != each or _holds_images(each, look.modality)]
            found += below or [each] * _is_volume_file(each)
        elif called:
            found += called
        elif _is_volume_file(each) or _holds_images(each, look.modality):
            found.append(each)  # a folder that is called as scans are is missed aloud
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


def _grouped(paths: Iterable[Path], look: Look, roots: dict[Path, Path]) -> list[Input]:
    """Channels that lie in files of their own brought together, each scan where its first file was."""
    groups: dict[tuple[Path, str], dict[int | Path, Path]] = {}
    for path in paths:
        stem, number = look.channel(path) or _numbered(path)
        groups.setdefault((path.parent, stem), {})[path if number is None else number] = path
    return [scan for (_, stem), group in groups.items() for scan in _scans_of(stem, group, look, roots)]


def _scans_of(stem: str, group: dict[int | Path, Path], look: Look, roots: dict[Path, Path]) -> Iterator[Input]:
    """One scan, called by what its files share or, if they are called alike in every folder, by the folder; or each."""
    if set(group) == set(range(look.channels)):
        paths = tuple(group[i] for i in range(look.channels))
        above, first = paths[0].parent, paths[0]
        alone = look.channels == 1 and stem and look.channel(first) is not None
        shared = stem.strip("_-. ")
        name = above / case_name(first) if alone else above / shared if shared else above
        yield Input(_relative(name, roots.get(first, above)), paths)
        return
    for path in group.values():
        yield Input(_relative(path.parent / case_name(path), roots.get(path, path.parent)), (path,))


def _relative(name: Path, root: Path) -> str:
    """`data/a/scan` below `data` -> "a/scan"; what does not lie below it keeps the last part of its name."""
    below = name.relative_to(root) if root in name.parents else Path(case_name(name))
    return below.as_posix()


def _numbered(path: Path) -> tuple[str, int | None]:
    """`heart_0001.nii.gz` -> ("heart", 1); without such an ending None."""
    match = NUMBERED.fullmatch(case_name(path)) if _is_volume_file(path) else None
    return (match[1], int(match[2])) if match else (case_name(path), None)
