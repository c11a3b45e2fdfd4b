"""The DICOM files of a folder, grouped by series, and the choice of one."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from densevit.volumes.formats.dicom_file import ORIGIN, Header, quiet_pydicom, read_header, read_headers
from densevit.volumes.formats.stored_volume import ReadOptions
from densevit.volumes.paths import walk_files

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Series:
    """The files of one SeriesInstanceUID, patient and modality, in the order of their names."""

    uid: str
    headers: tuple[Header, ...]

    @property
    def origin(self) -> dict[str, str]:
        return self.headers[0].origin

    @property
    def modality(self) -> str:
        return self.origin["Modality"]

    @property
    def number(self) -> str:
        return str(self.headers[0].get("SeriesNumber", "none"))

    def __str__(self) -> str:
        about = [self.modality, self.headers[0].get("SeriesDescription")]
        images = sum(header.frames for header in self.headers)
        return f"number {self.number} ({', '.join(str(a) for a in about if a)}; {images} images; {self.uid})"

    def is_asked_for(self, options: ReadOptions) -> bool:
        return str(options.series) in ("None", self.uid, self.number) and options.modality in (None, self.modality)


def find_series(path: Path, *, options: ReadOptions) -> Series:
    """The series of a file, or the one of a folder, without localizers unless all are; ValueError for several."""
    if path.is_file():
        header = read_header(path)
        if not header.is_image:
            raise ValueError(
                f"{path} is {header.get('Modality', 'DICOM')} without an image; give a CT, MR or PET series"
            )
        own = Series(header.series, (header,))
        if not own.is_asked_for(options):
            raise ValueError(f"{path} is of series {own}, and {_asked(options)} is asked for; give a file of that one")
        if header.frames > 1:
            return own
        beside = [other for other in read_headers(path.parent.iterdir()) if other.is_image]
        series = next(each for each in _group(beside) if path in [h.path for h in each.headers])
    else:
        series = _choose(path, read_headers(walk_files(path)), options)
    kept = tuple(header for header in series.headers if not header.is_localizer)
    if kept and len(kept) < len(series.headers):
        logger.warning("%s: %d localizers are left out", kept[0].path.parent, len(series.headers) - len(kept))
    return Series(series.uid, kept or series.headers)


def _asked(options: ReadOptions) -> str:
    """`series '4' of modality 'CT'`."""
    series = "image series" if options.series is None else f"series {options.series!r}"
    return series if options.modality is None else f"{series} of modality {options.modality!r}"


def _group(headers: Iterable[Header]) -> list[Series]:
    """Files that share a SeriesInstanceUID and are of several patients or modalities are several series.

    A file that leaves one of these empty belongs to the others, where those are of one.
    """
    by_uid: dict[str, list[Header]] = {}
    for header in headers:
        by_uid.setdefault(header.series, []).append(header)
    found = []
    for uid, group in by_uid.items():
        said = {name: {header.origin[name] for header in group} - {""} for name in ORIGIN}
        parts: dict[tuple[str, ...], list[Header]] = {}
        for header in group:
            key = tuple(min(said[name]) if len(said[name]) == 1 else value for name, value in header.origin.items())
            parts.setdefault(key, []).append(header)
        found += [Series(uid, tuple(part)) for part in parts.values()]
    return found


def _choose(path: Path, headers: Sequence[Header], options: ReadOptions) -> Series:
    """The one image series among headers, or the one that is asked for by its UID, its number or its modality."""
    if not headers:
        raise ValueError(f"{path} holds no DICOM file; give a folder of one series")
    found = _group(header for header in headers if header.is_image)
    if not found:
        others = ", ".join(sorted({str(header.get("Modality", "unknown")) for header in headers}))
        raise ValueError(f"{path} holds no image series, only {others}; give a CT, MR or PET series")
    asked = [each for each in found if each.is_asked_for(options)]
    placed = [each for each in asked if any(h.has_place and not h.is_localizer for h in each.headers)]
    scans = asked if options.series is not None or not placed else placed
    if len(scans) != 1:
        raise ValueError(_not_one(path, scans, found, options))
    if len(found) > 1 and options.series is None:
        logger.info("%s: %s is read; other series, localizers and pictures without a place are not", path, scans[0])
    return scans[0]


def _not_one(path: Path, scans: Sequence[Series], found: Sequence[Series], options: ReadOptions) -> str:
    """Which series there are, and how one is chosen."""
    listed = "; ".join(f"series {each}" for each in scans or found)
    differ = [name for name in ORIGIN if len({each.origin[name] for each in scans}) > 1]
    shared = len({each.uid for each in scans}) < len(scans)
    if shared and set(differ) - {"Modality"}:
        return (
            f"{path} holds {len(scans)} image series under one SeriesInstanceUID, whose files differ in "
            f"{' and '.join(differ)}: {listed}; put each in a folder of its own"
        )
    if options.series is not None or not scans:
        return f"{path} holds {len(scans)} {_asked(options)}; choose the UID of one of these: {listed}"
    ways = {"series": [each.number for each in scans], "modality": [each.modality for each in scans]}
    unique = {name: values[0] for name, values in ways.items() if len(set(values)) == len(scans)}
    unique = unique or {"series": scans[0].uid}
    way = " or ".join(f"{name}={value!r}" for name, value in unique.items())
    return f"{path} holds {len(scans)} image series: {listed}; choose one by its number or UID, such as {way}"


@quiet_pydicom()
def stand_ins(named: Sequence[Path]) -> list[Path]:
    """What stands for DICOM files of one folder that were named one by one.

    A file of many frames, and one alone of its series, stands for itself; all slices of a series become the first of
    them, or the folder, which has the better name, where it holds nothing else; so does a folder of which a file cannot
    be read, for its reader to refuse. ValueError for some of the slices.
    """
    folder = named[0].parent
    try:
        headers = [header for header in read_headers(folder.iterdir()) if header.is_image]
        images = {header.path: header.frames for header in headers}
    except (ValueError, OSError):
        return [folder]
    found: list[Path] = []
    groups = _group(headers)
    for series in groups:
        paths = [header.path for header in series.headers]
        asked = [path for path in named if path in paths]
        if len(asked) == 1 or all(images[path] > 1 for path in paths):
            found += asked
        elif len(asked) == len(paths):
            found.append(min(asked) if len(groups) > 1 else folder)
        elif asked:
            raise ValueError(
                f"{len(asked)} of the {len(paths)} files of series {series} in {folder} are named, and a scan is all "
                "of a series; name one file, which stands for its series, or the folder"
            )
    return found + [path for path in named if path not in images]
