"""The DICOM files of a folder, grouped by series, and the choice of one."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from densevit.volumes.formats.dicom_file import Header, read_header, read_headers
from densevit.volumes.paths import walk_files
from densevit.volumes.read_options import ReadOptions

logger = logging.getLogger("densevit")


@dataclass(frozen=True)
class Series:
    """The files of one SeriesInstanceUID, in the order of their names."""

    uid: str
    headers: tuple[Header, ...]

    @property
    def number(self) -> str:
        return str(self.headers[0].get("SeriesNumber", "none"))

    def __str__(self) -> str:
        about = [self.headers[0].get("Modality"), self.headers[0].get("SeriesDescription")]
        images = sum(header.frames for header in self.headers)
        return f"number {self.number} ({', '.join(str(a) for a in about if a)}; {images} images; {self.uid})"


def find_series(path: Path, *, options: ReadOptions) -> Series:
    """The series of a file, or the one of a folder; ValueError, listing them, for a folder of several."""
    if path.is_file():
        header = read_header(path)
        if not header.is_image:
            raise ValueError(
                f"{path} is {header.get('Modality', 'DICOM')} without an image; give a CT, MR or PET series"
            )
        own = Series(header.series, (header,))
        _check_wanted(own, path, wanted=options.series)
        if header.frames > 1:
            return own
        beside = read_headers(path.parent.iterdir())
        headers = tuple(other for other in beside if other.is_image and other.series == own.uid)
        return _without_localizers(Series(own.uid, headers))
    headers = read_headers(walk_files(path))
    if not headers:
        raise ValueError(f"{path} holds no DICOM file; give a folder of one series")
    return _without_localizers(choose_series(path, headers, wanted=options.series))


def _check_wanted(series: Series, path: Path, *, wanted: str | None) -> None:
    if wanted is not None and str(wanted) not in (series.uid, series.number):
        raise ValueError(f"{path} is of series {series}, and series {wanted!r} is asked for; give a file of that one")


def choose_series(path: Path, headers: Iterable[Header], *, wanted: str | None) -> Series:
    """The one image series among headers, or the one that is `wanted` by its UID or its number."""
    groups: dict[str, list[Header]] = {}
    others = set()
    for header in headers:
        if header.is_image:
            groups.setdefault(header.series, []).append(header)
        else:
            others.add(str(header.get("Modality", "unknown")))
    found = [Series(uid, tuple(group)) for uid, group in groups.items()]
    if not found:
        raise ValueError(f"{path} holds no image series, only {', '.join(sorted(others))}; give a CT, MR or PET series")
    listed = "; ".join(f"series {each}" for each in found)
    if wanted is not None:
        chosen = [each for each in found if str(wanted) in (each.uid, each.number)]
        if len(chosen) != 1:
            raise ValueError(f"{path} holds {len(chosen)} series {wanted!r}; choose the UID of one of these: {listed}")
        return chosen[0]
    scans = [each for each in found if any(h.has_place and not h.is_localizer for h in each.headers)] or found
    if len(scans) > 1:
        listed = "; ".join(f"series {each}" for each in scans)
        raise ValueError(
            f"{path} holds {len(scans)} image series: {listed}; choose one by its number or UID, "
            f"such as series={scans[0].number if len({s.number for s in scans}) == len(scans) else scans[0].uid!r}"
        )
    if len(found) > 1:
        logger.info("%s: %s is read; localizers and pictures without a place are left out", path, scans[0])
    return scans[0]


def _without_localizers(series: Series) -> Series:
    """Leave out the files that call themselves localizers, unless all do."""
    kept = tuple(header for header in series.headers if not header.is_localizer)
    if kept and len(kept) < len(series.headers):
        logger.warning("%s: %d localizers are left out", kept[0].path.parent, len(series.headers) - len(kept))
    return Series(series.uid, kept or series.headers)
