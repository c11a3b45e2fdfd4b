"""Which scans the inputs of a command name: files, folders of them, DICOM series, one file a channel."""

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from densevit.predictor.inputs import Input
from densevit.volumes.paths import FILE_ENDINGS, READABLE, case_name, looks_like_dicom, walk_files

CHANNEL = re.compile(r"(.+)_(\d{4})")


def is_dicom(scan: Input) -> bool:
    """Whether a scan is a DICOM series or one of its files."""
    return scan.path.is_dir() or (scan.path.is_file() and _is_dicom_file(scan.path))


def find_scans(
    inputs: str | Path | Iterable[str | Path],
    *,
    channels: int = 1,
    recursive: bool = False,
    exclude: Path | None = None,
    modality: str | None = None,
) -> list[Input]:
    """The scans that files, folders and globs name, each once, sorted within a folder.

    A folder stands for the NIfTI, NRRD and MetaImage files in it, and for DICOM series: itself if it holds DICOM files,
    otherwise each of its subfolders that does, unless they are all structure sets, segmentations and the like, or none
    of them is of the `modality` that is asked for. One DICOM file stands for its series, and all of a folder for it.
    `recursive` goes into all subfolders but `exclude`, and a scan is then called by its path below the folder.
    Files NAME_0000, NAME_0001, ... of as many as the model has `channels` are one scan NAME, as nnU-Net stores them;
    with one channel NAME_0000 is NAME, unless NAME_0001 is there. Where scans of several folders have one name, all
    keep their paths, see `name_apart`.
    FileNotFoundError for what is not there, ValueError for two scans of one name in a folder, and for one in the folder
    `exclude`, where results are written.
    """
    named = [inputs] if isinstance(inputs, str | Path) else list(inputs)
    found: list[Path] = []
    roots: dict[Path, Path] = {}
    for each in named:
        for path in _matches(each):
            scans = [path]
            if path.is_dir():
                scans = _scans_below(path, modality, exclude) if recursive else _scans_in(path, modality)
            found += scans
            roots |= {scan: path for scan in scans if recursive and scan != path}
    scans = _grouped(_series_together(found), channels)
    for scan in scans:
        if exclude is not None and exclude.resolve() in (scan.path.parent.resolve(), scan.path.resolve()):
            raise ValueError(f"a mask would overwrite {scan.path}, which is read from; give another output folder")
    return name_apart([_below(scan, roots.get(scan.path)) for scan in scans])


def name_apart(scans: Sequence[Input]) -> list[Input]:
    """The scans themselves where each has a name of its own, else called by their paths below the folder of them all.

    p1/ct and p2/ct, for example. ValueError for two of one name in a folder.
    """
    if len({scan.name for scan in scans}) < len(scans):
        root = Path(os.path.commonpath([os.path.abspath(scan.path.parent) for scan in scans]))
        scans = [_below(Input(Path(scan.name).name, scan.paths), root) for scan in scans]
    taken: dict[str, Path] = {}
    for scan in scans:
        other = taken.setdefault(scan.name, scan.path)
        if other != scan.path:
            raise ValueError(f"{other} and {scan.path} would both be written as {scan.name}.nii.gz; rename one")
    return list(scans)


def _below(scan: Input, root: Path | None) -> Input:
    """The scan, called by its path below a folder; None leaves it as it is."""
    if root is None:
        return scan
    folder = Path(os.path.abspath(scan.path.parent)).relative_to(os.path.abspath(root))
    return Input((folder / scan.name).as_posix(), scan.paths)


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
    found, is_series = _files_in(folder)
    if is_series:
        return [*found, folder]
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    # A folder that is called as scans are is missed aloud.
    found += [path for path in folders if _is_volume_file(path) or _holds_images(path, modality)]
    if not found:
        raise FileNotFoundError(_nothing_in(folder, folders, modality))
    return found


def _scans_below(folder: Path, modality: str | None, exclude: Path | None) -> list[Path]:
    """Those of a folder and of all in it; what lies in a folder of DICOM files belongs to that."""
    found: list[Path] = []
    for place, folders, _ in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in folders if exclude is None or (here / name).resolve() != exclude.resolve()]
        files, is_series = _files_in(here)
        found += files
        if is_series:
            folders.clear()
            found += [here] if _holds_images(here, modality) else []
        called_so = [here / name for name in folders if _is_volume_file(Path(name))]
        found += called_so
        folders[:] = [name for name in folders if here / name not in called_so]
    if not found:
        raise FileNotFoundError(f"{folder} and its subfolders hold no scan; what is looked for is {READABLE}")
    return found


def _files_in(folder: Path) -> tuple[list[Path], bool]:
    """Its files that are scans by themselves, and whether it holds DICOM files."""
    visible = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in visible if not path.is_dir()]  # also links that lead nowhere: they are missed aloud
    found = [path for path in files if _is_volume_file(path)]
    return found, any(_is_dicom_file(path) for path in files if path.is_file())


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
            f"{folder} itself holds no scan, its subfolders hold {len(below)}, such as {below[0]}: add "
            "--recursive, or name those folders"
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
